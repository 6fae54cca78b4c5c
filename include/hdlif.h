/* hdlif: run deployed spiking neural networks on a CPU, from C and languages that call C.
 *
 *   hdlif_network* network;
 *   if (hdlif_open_file("digits.hdlif.safetensors", NULL, &network) != HDLIF_OK) {
 *     fprintf(stderr, "%s\n", hdlif_error_text());
 *     return 1;
 *   }
 *   hdlif_run(network, x, 1, 1, hdlif_time_steps(network), logits);
 *   hdlif_close(network);
 *
 * A function that can fail returns a status, and `hdlif_error_text` returns the reason. No exception leaves
 * the library. Files are not trusted: opening any bytes returns a checked network or an error. The caller
 * owns all buffers, which must have the sizes stated here. The library keeps no reference to them after a
 * call.
 *
 * Arrays are float32 in C order, [time][batch][channel][row][column]. Logits are
 * bit-identical to those of `hdlif.Session` in Python, on every machine, instruction set and thread count.
 *
 * From 1.0 on, this interface is stable within a major version; before 1.0, within a minor version. The
 * library's soname contains that version. Structs begin with their size, and may grow at their end. */
#ifndef HDLIF_H
#define HDLIF_H

#include <stddef.h>
#include <stdint.h>

#define HDLIF_VERSION_MAJOR 0
#define HDLIF_VERSION_MINOR 1
#define HDLIF_VERSION_PATCH 0

#if defined(_WIN32) && !defined(HDLIF_STATIC)
#if defined(HDLIF_BUILDING)
#define HDLIF_API __declspec(dllexport)
#else
#define HDLIF_API __declspec(dllimport)
#endif
#elif defined(__GNUC__)
#define HDLIF_API __attribute__((visibility("default")))
#else
#define HDLIF_API
#endif

#if defined(__cplusplus)
extern "C" {
#endif

typedef int32_t hdlif_status;
enum {
  HDLIF_OK = 0,
  HDLIF_ERROR_ARGUMENT = 1,    /* an argument violates this header */
  HDLIF_ERROR_FILE = 2,        /* a file cannot be read */
  HDLIF_ERROR_ARTEFACT = 3,    /* not a model file, or a damaged one */
  HDLIF_ERROR_STATE = 4,       /* not a state of this network, or the stream's state is lost */
  HDLIF_ERROR_LIMIT = 5,       /* more bytes or operations than the options allow */
  HDLIF_ERROR_MEMORY = 6,      /* out of memory */
  HDLIF_ERROR_BUSY = 7,        /* another thread is using this stream */
  HDLIF_ERROR_INTERRUPTED = 8, /* `go_on` returned 0 */
  HDLIF_ERROR_INTERNAL = 9     /* a bug in the library; please report it */
};

/* Returns the error of the last failed call on this thread: one printable line in UTF-8, at most 1000 bytes,
 * valid until the next failure. "" if no call has failed. */
HDLIF_API const char* hdlif_error_text(void);

/* Returns the version of the loaded library, such as "0.1.0". */
HDLIF_API const char* hdlif_version(void);

/* A deployed network. Any number of threads may use it at the same time; one of them uses its thread pool. */
typedef struct hdlif_network hdlif_network;

/* Initialise with HDLIF_OPTIONS; a field that is 0 has its default. */
typedef struct hdlif_options {
  size_t size;              /* sizeof(hdlif_options) */
  int32_t threads;          /* 1..256; default: the cores available to this process */
  const char* instructions; /* an instruction set (hdlif_instruction_set); default: the best one. All
                               compute the same bits */
  int64_t max_bytes;        /* weights, working memory and memory for reading a file; default 2^32 */
  int64_t max_operations;   /* per call: products, including zeros, and equivalents; default 2^42 */
  /* Called about every 0.05 s during a call, on the calling thread; if it returns 0, the call ends. */
  int32_t (*go_on)(void* context);
  void* context;
} hdlif_options;
#define HDLIF_OPTIONS {sizeof(hdlif_options), 0, NULL, 0, 0, NULL, NULL}

/* Returns the name of an instruction set of this machine, the best one last; NULL beyond the last one. */
HDLIF_API const char* hdlif_instruction_set(int32_t index);

/* Opens the bytes of a file NAME.hdlif.safetensors, which are not needed afterwards. `options` may be NULL.
 * On failure, *network is NULL. Errors: HDLIF_ERROR_ARTEFACT; HDLIF_ERROR_LIMIT if one input over the
 * network's time steps exceeds a limit; HDLIF_ERROR_MEMORY; HDLIF_ERROR_ARGUMENT. */
HDLIF_API hdlif_status hdlif_open(const void* bytes, size_t size, const hdlif_options* options,
                                  hdlif_network** network);
/* Opens a regular file, with the same errors and HDLIF_ERROR_FILE. */
HDLIF_API hdlif_status hdlif_open_file(const char* path, const hdlif_options* options,
                                       hdlif_network** network);
/* Closes a network, which may be NULL. Its streams stay usable. */
HDLIF_API void hdlif_close(hdlif_network* network);

/* Properties of a network. Returned texts are valid until the network is closed. */

/* Number of time steps that the network was trained with. */
HDLIF_API int32_t hdlif_time_steps(const hdlif_network* network);
/* [C, H, W] of the input at one step. */
HDLIF_API void hdlif_input_shape(const hdlif_network* network, int32_t shape[3]);
/* "image", "events", "series" or "table". */
HDLIF_API const char* hdlif_input_kind(const hdlif_network* network);
/* Number of outputs per step, such as the number of classes. */
HDLIF_API int32_t hdlif_outputs(const hdlif_network* network);
/* [C, H, W] of the output at one step, in the order of its entries: [classes, 1, 1] for classification,
 * [classes, H, W] for one class per pixel. */
HDLIF_API void hdlif_output_shape(const hdlif_network* network, int32_t shape[3]);
/* Name of an output channel, such as a class; NULL beyond the last one. */
HDLIF_API const char* hdlif_label(const hdlif_network* network, int32_t output);
/* Instruction set that the network uses. */
HDLIF_API const char* hdlif_instructions(const hdlif_network* network);
/* Bytes of weights and rows in memory. */
HDLIF_API int64_t hdlif_weight_bytes(const hdlif_network* network);
/* Graph in the file: JSON (docs/contributing/model_format.md) of `*length` bytes and a 0. `length` may be
 * NULL. */
HDLIF_API const char* hdlif_graph(const hdlif_network* network, size_t* length);

/* Normalises per channel: x = (raw / 255 - mean) / std for images, and (raw - mean) / std for other inputs.
 * `raw` and x are [frames][C][H][W], and may be the same array. */
HDLIF_API hdlif_status hdlif_normalise(const hdlif_network* network, const float* raw, int64_t frames,
                                       float* x);

/* Runs a complete sequence: logits [steps][batch][outputs] for normalised x [x_steps][batch][C][H][W].
 * x_steps is `steps`, or 1 for the same input at every step. Limits: steps below 2^31, batch up to 2^20,
 * steps * batch up to 2^32. */
HDLIF_API hdlif_status hdlif_run(hdlif_network* network, const float* x, int64_t x_steps, int64_t batch,
                                 int64_t steps, float* logits);

/* Computes the cost of `hdlif_run`: bytes inside the library, and operations, both limited by the options. */
HDLIF_API hdlif_status hdlif_cost(hdlif_network* network, int64_t x_steps, int64_t batch, int64_t steps,
                                  int64_t* bytes, double* operations);

/* Number of values of the graph: value 0 is the input, and the others are the outputs of the nodes. */
HDLIF_API int32_t hdlif_values(const hdlif_network* network);
/* Name of a value; NULL beyond the last one. */
HDLIF_API const char* hdlif_value_name(const hdlif_network* network, int32_t value);
/* [C, H, W] of a value at one step, or [C, 1, 1] for a vector; zeros beyond the last value. */
HDLIF_API void hdlif_value_shape(const hdlif_network* network, int32_t value, int32_t shape[3]);
/* `hdlif_run` that also writes value i to values[i], [steps][batch][C][H][W], unless values[i] is NULL. */
HDLIF_API hdlif_status hdlif_run_values(hdlif_network* network, const float* x, int64_t x_steps,
                                        int64_t batch, int64_t steps, float* logits, float* const* values);

/* A sequence that continues from call to call and keeps its state. It allows one call at a time; several
 * threads may use several streams of a network. After its first call, a stream allocates nothing unless other
 * kinds of calls use the network in between. */
typedef struct hdlif_stream hdlif_stream;

HDLIF_API hdlif_status hdlif_stream_open(hdlif_network* network, hdlif_stream** stream);
HDLIF_API void hdlif_stream_close(hdlif_stream* stream);
/* Runs the next steps: logits [steps][outputs] for normalised x [steps][C][H][W]. However the steps are
 * split, the result has the bits of `hdlif_run`. An interrupted call loses the state: until it is reset or
 * loaded, calls return HDLIF_ERROR_STATE. */
HDLIF_API hdlif_status hdlif_stream_run(hdlif_stream* stream, const float* x, int64_t steps, float* logits);
/* Runs one step. */
HDLIF_API hdlif_status hdlif_stream_step(hdlif_stream* stream, const float* x, float* logits);
/* Resets the stream to the start of a sequence. */
HDLIF_API hdlif_status hdlif_stream_reset(hdlif_stream* stream);
/* Number of steps run; -1 if the state is lost. */
HDLIF_API int64_t hdlif_stream_steps(const hdlif_stream* stream);

/* A saved state: bytes that any process on any machine can load into a stream of the same model file.
 *   0..7    "HDLIFST" and the version of this format, 2
 *   8..39   SHA-256 digest in the model file
 *   40..47  number of steps run, int64
 *   48..    sums of the outputs of all steps, float32 [outputs]; zeros if no mean is taken
 *           states of the nodes, in node order, float32 [C][H][W]
 *           SHA-256 digest of all previous bytes
 * All little-endian. `hdlif serve` and hdlif.runtime.Sequence write and read the same bytes. */
HDLIF_API size_t hdlif_state_size(const hdlif_network* network);
/* Save and load a state; `size` must be hdlif_state_size. */
HDLIF_API hdlif_status hdlif_stream_save(hdlif_stream* stream, void* bytes, size_t size);
HDLIF_API hdlif_status hdlif_stream_load(hdlif_stream* stream, const void* bytes, size_t size);
/* Names "<node>.<state>" of the states in the order of a saved state's bytes, and their shapes [C, H, W], or
 * [C, 1, 1] for a vector. NULL and zeros beyond the last one. */
HDLIF_API const char* hdlif_state_name(const hdlif_network* network, int32_t index);
HDLIF_API void hdlif_state_shape(const hdlif_network* network, int32_t index, int32_t shape[3]);

/* A network that continues to learn classes, bit-identical to `hdlif.Learner` in Python. Calls from several
 * threads wait for each other. */
typedef struct hdlif_learner hdlif_learner;

/* A trained tensor. */
typedef struct hdlif_trained {
  int32_t node;      /* number of its node, from 0 */
  int32_t row;       /* -1: weights; affine: 0 for scale, 1 for shift; program: N for rowN */
  int32_t is_binary; /* 1 if the weights are binary, else 0 */
} hdlif_trained;

/* Opens the bytes of a file, which are not needed afterwards. `hdlif.runtime.learning.numbered` computes the
 * `count` trained tensors and, for each node, whether its output needs a gradient (1) or not (0). `rate` has
 * the rates for floats and low-bit weights, and the momentum, as in `hdlif.LearningRate`. Errors as in
 * hdlif_open. */
HDLIF_API hdlif_status hdlif_learner_open(const void* bytes, size_t size, const hdlif_options* options,
                                          const hdlif_trained* trained, size_t count, const uint8_t* needed,
                                          size_t nodes, const float rate[3], hdlif_learner** learner);
HDLIF_API void hdlif_learner_close(hdlif_learner* learner);
/* Runs a step of a sequence: logits [batch][outputs] for normalised x [batch][C][H][W]. t = 0 begins a
 * sequence; any other t must be the next step of the same batch. With `targets`, one class per sample, the
 * step also adds its gradients. `targets` may be NULL. After an error, begin the sequence again. */
HDLIF_API hdlif_status hdlif_learner_step(hdlif_learner* learner, const float* x, int64_t batch, int64_t t,
                                          const int32_t* targets, float* logits);
/* Updates the weights with the mean gradient since the last update. HDLIF_ERROR_ARGUMENT if no step had
 * targets, or if a weight would not be finite; the weights then stay unchanged. */
HDLIF_API hdlif_status hdlif_learner_update(hdlif_learner* learner);
/* Opens the network with its current weights, independent of the learner; close it with hdlif_close. Its
 * graph and the digest in its states remain those of the file. */
HDLIF_API hdlif_status hdlif_learner_network(hdlif_learner* learner, hdlif_network** network);

#if defined(__cplusplus)
}
#endif

#endif
