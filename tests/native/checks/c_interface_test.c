/* The C interface from C99: each case is a folder with artefact, x and what was computed of it by another
 * program.
 *
 *   c_interface_test FOLDER...
 *
 *   FOLDER/artefact  a file NAME.hdlif.safetensors
 *   FOLDER/sizes     x_steps batch steps, in decimal digits
 *   FOLDER/x         float32 [x_steps][batch][C][H][W]
 *   FOLDER/logits    float32 [steps][batch][outputs], the same bits as are found here */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hdlif.h"

static const char* folder = "";

static void require(int holds, const char* what) {
  if (!holds) {
    fprintf(stderr, "%s: %s (the last error: %s)\n", folder, what, hdlif_error_text());
    exit(1);
  }
}

static void* allocated(size_t size) {
  void* memory = malloc(size > 0 ? size : 1);
  require(memory != NULL, "malloc");
  return memory;
}

static unsigned char* read_file(const char* name, size_t* size) {
  char path[4096];
  FILE* file;
  unsigned char* content;
  long length;
  require(snprintf(path, sizeof(path), "%s/%s", folder, name) < (int)sizeof(path), "a path is too long");
  file = fopen(path, "rb");
  require(file != NULL && fseek(file, 0, SEEK_END) == 0, name);
  length = ftell(file);
  require(length >= 0 && fseek(file, 0, SEEK_SET) == 0, name);
  *size = (size_t)length;
  content = (unsigned char*)allocated(*size + 1);
  require(fread(content, 1, *size, file) == *size, name);
  content[*size] = 0;
  fclose(file);
  return content;
}

/* Equal bits; which NaN it is is no property of the arithmetic. */
static int same(const float* a, const float* b, size_t count) {
  size_t i;
  for (i = 0; i < count; ++i)
    if (memcmp(a + i, b + i, sizeof(float)) != 0 && (a[i] == a[i] || b[i] == b[i]))
      return 0;
  return 1;
}

static void check_error(hdlif_status status, hdlif_status expected) {
  const char* text = hdlif_error_text();
  size_t i;
  require(status == expected, "another status");
  require(text[0] != '\0' && strlen(text) <= 1000, "an error without a text, or with a long one");
  for (i = 0; text[i] != '\0'; ++i)
    require((unsigned char)text[i] >= 32 && text[i] != 127, "the text is no printable line");
}

/* Damages of every part of a file: an error each time, or a network that opens. */
static void check_damages(const unsigned char* content, size_t size) {
  const hdlif_options options = HDLIF_OPTIONS;
  unsigned char* damaged = (unsigned char*)allocated(size);
  const size_t stride = size / 50 + 1;
  size_t place;
  hdlif_network* network = NULL;
  for (place = 0; place < size; place += stride) {
    memcpy(damaged, content, size);
    damaged[place] ^= 0x10;
    check_error(hdlif_open(damaged, size, &options, &network), HDLIF_ERROR_ARTEFACT);
    require(network == NULL, "a network without success");
    check_error(hdlif_open(content, place, &options, &network), HDLIF_ERROR_ARTEFACT);
  }
  free(damaged);
}

/* Image by image, in pieces, through a state that is saved and loaded into another stream. */
static void check_streams(hdlif_network* network, const float* x, int64_t batch, int64_t steps, size_t frame,
                          const float* logits) {
  const size_t outputs = (size_t)hdlif_outputs(network), size = hdlif_state_size(network);
  float* own = (float*)allocated((size_t)steps * frame * sizeof(float));
  float* found = (float*)allocated((size_t)steps * outputs * sizeof(float));
  unsigned char* state = (unsigned char*)allocated(size);
  unsigned char* again = (unsigned char*)allocated(size);
  int64_t image, t;
  for (image = 0; image < batch; ++image) {
    const int64_t half = steps / 2;
    hdlif_stream *first = NULL, *second = NULL;
    for (t = 0; t < steps; ++t)
      memcpy(own + (size_t)t * frame, x + (size_t)(t * batch + image) * frame, frame * sizeof(float));
    require(hdlif_stream_open(network, &first) == HDLIF_OK, "hdlif_stream_open");
    require(hdlif_stream_open(network, &second) == HDLIF_OK, "hdlif_stream_open");
    require(hdlif_stream_step(second, own, found) == HDLIF_OK, "hdlif_stream_step");
    for (t = 0; t < half; ++t)
      require(hdlif_stream_step(first, own + (size_t)t * frame, found + (size_t)t * outputs) == HDLIF_OK,
              "hdlif_stream_step");
    require(hdlif_stream_save(first, state, size) == HDLIF_OK, "hdlif_stream_save");
    hdlif_stream_close(first);
    require(hdlif_stream_load(second, state, size) == HDLIF_OK, "hdlif_stream_load");
    require(hdlif_stream_steps(second) == half, "hdlif_stream_steps");
    require(hdlif_stream_save(second, again, size) == HDLIF_OK && memcmp(state, again, size) == 0,
            "a state is saved as it was loaded");
    require(hdlif_stream_run(second, own + (size_t)half * frame, steps - half,
                             found + (size_t)half * outputs) == HDLIF_OK,
            "hdlif_stream_run");
    for (t = 0; t < steps; ++t)
      require(same(found + (size_t)t * outputs, logits + (size_t)(t * batch + image) * outputs, outputs),
              "a stream gives other bits");
    state[0] ^= 1;
    check_error(hdlif_stream_load(second, state, size), HDLIF_ERROR_STATE);
    check_error(hdlif_stream_save(second, state, size + 1), HDLIF_ERROR_ARGUMENT);
    hdlif_stream_close(second);
  }
  free(own);
  free(found);
  free(state);
  free(again);
}

static void check_values(hdlif_network* network, const float* x, int64_t x_steps, int64_t batch,
                         int64_t steps, const float* logits, size_t logit_count) {
  const int32_t count = hdlif_values(network);
  float** values = (float**)allocated((size_t)count * sizeof(float*));
  float* found = (float*)allocated(logit_count * sizeof(float));
  int32_t i;
  for (i = 0; i < count; ++i) {
    int32_t shape[3];
    hdlif_value_shape(network, i, shape);
    require(hdlif_value_name(network, i) != NULL && shape[0] > 0 && shape[1] > 0 && shape[2] > 0,
            "a value's type");
    values[i] = (float*)allocated((size_t)(steps * batch) * (size_t)shape[0] * (size_t)shape[1] *
                                  (size_t)shape[2] * sizeof(float));
  }
  require(hdlif_run_values(network, x, x_steps, batch, steps, found, values) == HDLIF_OK, "hdlif_run_values");
  require(same(found, logits, logit_count), "keeping values changes a bit");
  for (i = 0; i < count; ++i)
    free(values[i]);
  free(values);
  free(found);
}

static void check_case(void) {
  size_t size, ignored, logit_count, frame;
  unsigned char* content = read_file("artefact", &size);
  char* sizes = (char*)read_file("sizes", &ignored);
  float* x = (float*)read_file("x", &ignored);
  float* expected = (float*)read_file("logits", &logit_count);
  float* logits = (float*)allocated(logit_count);
  int64_t x_steps, batch, steps, bytes;
  double operations;
  int32_t shape[3], i;
  hdlif_options options = HDLIF_OPTIONS;
  hdlif_network* network = NULL;
  require(sscanf(sizes, "%" SCNd64 " %" SCNd64 " %" SCNd64, &x_steps, &batch, &steps) == 3, "sizes");
  for (i = 0; hdlif_instruction_set(i) != NULL; ++i) {
    options.threads = 1 + i % 2;
    options.instructions = hdlif_instruction_set(i);
    require(hdlif_open(content, size, &options, &network) == HDLIF_OK, "hdlif_open");
    require(strcmp(hdlif_instructions(network), options.instructions) == 0, "hdlif_instructions");
    require(logit_count == (size_t)(steps * batch * hdlif_outputs(network)) * sizeof(float), "logits");
    hdlif_output_shape(network, shape);
    require(shape[0] * shape[1] * shape[2] == hdlif_outputs(network), "hdlif_output_shape");
    require(hdlif_label(network, shape[0] - 1) != NULL && hdlif_label(network, shape[0]) == NULL,
            "hdlif_label");
    require(hdlif_cost(network, x_steps, batch, steps, &bytes, &operations) == HDLIF_OK && bytes > 0 &&
                operations > 0,
            "hdlif_cost");
    require(hdlif_run(network, x, x_steps, batch, steps, logits) == HDLIF_OK, "hdlif_run");
    require(same(logits, expected, logit_count / sizeof(float)), "other bits");
    hdlif_close(network);
  }
  require(hdlif_open(content, size, NULL, &network) == HDLIF_OK, "hdlif_open");
  hdlif_input_shape(network, shape);
  frame = (size_t)shape[0] * (size_t)shape[1] * (size_t)shape[2];
  if (x_steps == steps)
    check_streams(network, x, batch, steps, frame, expected);
  check_values(network, x, x_steps, batch, steps, expected, logit_count / sizeof(float));
  check_error(hdlif_run(network, x, steps + 1, batch, steps, logits), HDLIF_ERROR_ARGUMENT);
  check_error(hdlif_run(network, NULL, x_steps, batch, steps, logits), HDLIF_ERROR_ARGUMENT);
  hdlif_close(network);
  options = (hdlif_options)HDLIF_OPTIONS;
  options.max_operations = 1;
  check_error(hdlif_open(content, size, &options, &network), HDLIF_ERROR_LIMIT);
  check_damages(content, size);
  free(content);
  free(sizes);
  free(x);
  free(expected);
  free(logits);
}

int main(int argc, char** argv) {
  int i;
  require(hdlif_error_text()[0] == '\0', "an error before the first call");
  require(hdlif_version()[0] == '0' + HDLIF_VERSION_MAJOR, "hdlif_version");
  for (i = 1; i < argc; ++i) {
    folder = argv[i];
    check_case();
  }
  printf("%d cases\n", argc - 1);
  return 0;
}
