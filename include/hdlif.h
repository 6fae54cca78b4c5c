/* hdlif: deployed spiking neural networks on a CPU, from C and whatever calls C.
 *
 *   hdlif_network* network;
 *   if (hdlif_open_file("digits.hdlif.safetensors", NULL, &network) != HDLIF_OK) {
 *     fprintf(stderr, "%s\n", hdlif_error_text());
 *     return 1;
 *   }
 *   hdlif_run(network, x, 1, 1, hdlif_time_steps(network), logits);
 *   hdlif_close(network);
 *
 * A function that can fail returns a status, and `hdlif_error_text` says why. No exception leaves the
 * library. Files are not trusted: whatever the bytes are, opening them gives a checked network or an error.
 * Buffers are the caller's: they have the sizes that are stated here, and nothing is kept of them after a
 * call.
 *
 * Arrays are float32 in C order, [time][batch][channel][row][column]. Logits have the bits that
 * `hdlif.Session` gives in Python, on every machine, instruction set and number of threads.
 *
 * From 1.0 on, what is here keeps its meaning within a major version; before, within a minor one. The
 * library's soname says which. Structs begin with their size, and may grow at their end. */
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
  HDLIF_ERROR_ARGUMENT = 1,    /* an argument is not what this header says */
  HDLIF_ERROR_FILE = 2,        /* a file cannot be read */
  HDLIF_ERROR_ARTEFACT = 3,    /* it is no artefact, or a damaged one */
  HDLIF_ERROR_STATE = 4,       /* bytes are no state of this network, or a stream's state is lost */
  HDLIF_ERROR_LIMIT = 5,       /* more bytes or operations than the options grant */
  HDLIF_ERROR_MEMORY = 6,      /* the machine does not grant the memory */
  HDLIF_ERROR_BUSY = 7,        /* another thread is within a call of this stream */
  HDLIF_ERROR_INTERRUPTED = 8, /* `go_on` said no */
  HDLIF_ERROR_INTERNAL = 9     /* a fault of the library; please report it */
};

/* Of the last call on this thread that failed: one printable line in UTF-8, at most 1000 bytes, until the
 * next one fails. "" where none has. */
HDLIF_API const char* hdlif_error_text(void);

/* Of the library that runs, such as "0.1.0". */
HDLIF_API const char* hdlif_version(void);

/* A deployed network. Any number of threads may use it at a time; one of them has the help of its threads. */
typedef struct hdlif_network hdlif_network;

/* Begin with HDLIF_OPTIONS; what is 0 has its default. */
typedef struct hdlif_options {
  size_t size;              /* sizeof(hdlif_options) */
  int32_t threads;          /* 1..256; by default the cores that this process may use */
  const char* instructions; /* an instruction set (hdlif_instruction_set); by default the best one. All give
                               the same bits */
  int64_t max_bytes; /* of weights and working memory, and of what reading a file takes; 2^32 by default */
  int64_t max_operations; /* of a call: products, zeros included, and what counts as some; 2^42 by default */
  /* Asked about every 0.05 s within a call, on the thread that made it; where it returns 0 the call ends. */
  int32_t (*go_on)(void* context);
  void* context;
} hdlif_options;
#define HDLIF_OPTIONS {sizeof(hdlif_options), 0, NULL, 0, 0, NULL, NULL}

/* The instruction sets that this machine has, the best one last; NULL from their count on. */
HDLIF_API const char* hdlif_instruction_set(int32_t index);

/* Opens the bytes of a file NAME.hdlif.safetensors, which are not needed afterwards. `options` may be NULL.
 * Where this fails, *network is NULL: HDLIF_ERROR_ARTEFACT; HDLIF_ERROR_LIMIT where one input over the
 * network's time steps takes more than a limit; HDLIF_ERROR_MEMORY; HDLIF_ERROR_ARGUMENT. */
HDLIF_API hdlif_status hdlif_open(const void* bytes, size_t size, const hdlif_options* options,
                                  hdlif_network** network);
/* The same of a regular file; also HDLIF_ERROR_FILE. */
HDLIF_API hdlif_status hdlif_open_file(const char* path, const hdlif_options* options,
                                       hdlif_network** network);
/* NULL is fine. Streams of the network may live on. */
HDLIF_API void hdlif_close(hdlif_network* network);

/* What is known of a network; texts live as long as it. */

/* The steps that it was trained for. */
HDLIF_API int32_t hdlif_time_steps(const hdlif_network* network);
/* [C, H, W] of what it is shown at a step. */
HDLIF_API void hdlif_input_shape(const hdlif_network* network, int32_t shape[3]);
/* "image", "events", "series" or "table". */
HDLIF_API const char* hdlif_input_kind(const hdlif_network* network);
/* The entries of its output at a step: of classes, their number. */
HDLIF_API int32_t hdlif_outputs(const hdlif_network* network);
/* [C, H, W] of its output at a step, in which order its entries are: of classes [classes, 1, 1], of a class
 * per pixel [classes, H, W]. */
HDLIF_API void hdlif_output_shape(const hdlif_network* network, int32_t shape[3]);
/* The name of a channel of the output, of a class; NULL beyond them. */
HDLIF_API const char* hdlif_label(const hdlif_network* network, int32_t output);
/* The instruction set that it runs on. */
HDLIF_API const char* hdlif_instructions(const hdlif_network* network);
/* Bytes of weights and rows in memory. */
HDLIF_API int64_t hdlif_weight_bytes(const hdlif_network* network);
/* The graph as the file holds it: JSON (docs/contributing/model_format.md), `*length` bytes and a 0. `length`
 * may be NULL. */
HDLIF_API const char* hdlif_graph(const hdlif_network* network, size_t* length);

/* x = (raw / 255 - mean) / std by channel, of an image; of other kinds of input (raw - mean) / std. `raw` and
 * x are [frames][C][H][W], and may be the same. */
HDLIF_API hdlif_status hdlif_normalise(const hdlif_network* network, const float* raw, int64_t frames,
                                       float* x);

/* A whole sequence from its start: logits [steps][batch][outputs] of x [x_steps][batch][C][H][W], normalised.
 * x_steps is `steps`, or 1: the same input at every step. steps below 2^31, batch up to 2^20, steps * batch
 * up to 2^32. */
HDLIF_API hdlif_status hdlif_run(hdlif_network* network, const float* x, int64_t x_steps, int64_t batch,
                                 int64_t steps, float* logits);

/* What such a call takes: bytes inside the library, and operations, as the options limit them. */
HDLIF_API hdlif_status hdlif_cost(hdlif_network* network, int64_t x_steps, int64_t batch, int64_t steps,
                                  int64_t* bytes, double* operations);

/* Looking inside: the values of the graph, of which 0 is the input and the others are the nodes' outputs. */
HDLIF_API int32_t hdlif_values(const hdlif_network* network);
/* NULL beyond them. */
HDLIF_API const char* hdlif_value_name(const hdlif_network* network, int32_t value);
/* [C, H, W] of a step, a vector as [C, 1, 1]; zeros beyond the values. */
HDLIF_API void hdlif_value_shape(const hdlif_network* network, int32_t value, int32_t shape[3]);
/* `hdlif_run` that also gives values[i] [steps][batch][C][H][W] of each value i where this is not NULL. */
HDLIF_API hdlif_status hdlif_run_values(hdlif_network* network, const float* x, int64_t x_steps,
                                        int64_t batch, int64_t steps, float* logits, float* const* values);

/* A sequence that goes on from call to call and keeps its state. One call at a time; several streams of a
 * network may be used from several threads. After its first call a stream's calls allocate nothing, as long
 * as no other kind of call of the network comes between them. */
typedef struct hdlif_stream hdlif_stream;

HDLIF_API hdlif_status hdlif_stream_open(hdlif_network* network, hdlif_stream** stream);
HDLIF_API void hdlif_stream_close(hdlif_stream* stream);
/* The next steps: logits [steps][outputs] of x [steps][C][H][W], normalised. In any pieces, the bits of
 * `hdlif_run`. Where it is interrupted, the state is lost: until it is reset or loaded, calls give
 * HDLIF_ERROR_STATE. */
HDLIF_API hdlif_status hdlif_stream_run(hdlif_stream* stream, const float* x, int64_t steps, float* logits);
/* The same of one step. */
HDLIF_API hdlif_status hdlif_stream_step(hdlif_stream* stream, const float* x, float* logits);
/* To the start of a sequence. */
HDLIF_API hdlif_status hdlif_stream_reset(hdlif_stream* stream);
/* The steps that it has seen; -1 where its state is lost. */
HDLIF_API int64_t hdlif_stream_steps(const hdlif_stream* stream);

/* A state as a value: bytes that any process on any machine loads into a stream of the same artefact.
 *   0..7    "HDLIFST" and the version of this form, 2
 *   8..39   the SHA-256 digest that the artefact states
 *   40..47  the steps that were seen, int64
 *   48..    the sums of the outputs of all steps, float32 [outputs]; zeros where no mean of them is taken
 *           what each node carries, in the order of the nodes, float32 [C][H][W]
 *           the SHA-256 digest of all bytes before
 * All little-endian. `hdlif serve` and hdlif.runtime.Sequence write and read the same bytes. */
HDLIF_API size_t hdlif_state_size(const hdlif_network* network);
/* `size` is hdlif_state_size. */
HDLIF_API hdlif_status hdlif_stream_save(hdlif_stream* stream, void* bytes, size_t size);
HDLIF_API hdlif_status hdlif_stream_load(hdlif_stream* stream, const void* bytes, size_t size);
/* Of what nodes carry: names "<node>.<state>" in the order of a state's bytes, and [C, H, W], a vector as [C,
 * 1, 1]. NULL and zeros from their count on. */
HDLIF_API const char* hdlif_state_name(const hdlif_network* network, int32_t index);
HDLIF_API void hdlif_state_shape(const hdlif_network* network, int32_t index, int32_t shape[3]);

/* A network that continues to learn classes, with the bits of `hdlif.Learner` in Python. Calls from several
 * threads wait for each other. */
typedef struct hdlif_learner hdlif_learner;

/* A trained tensor. */
typedef struct hdlif_trained {
  int32_t node;      /* number of its node, from 0 */
  int32_t row;       /* -1: weights; of an affine node 0 the scale, 1 the shift; of a program rowN: N */
  int32_t is_binary; /* 1 if the weights are binary, else 0 */
} hdlif_trained;

/* Opens the bytes of a file, which are not needed afterwards. `hdlif.runtime.learning.numbered` computes the
 * `count` trained tensors and, for each node, whether its output needs a gradient (1) or not (0). `rate` is
 * that of floats, that of low-bit weights, and the momentum, as in `hdlif.LearningRate`. Errors as in
 * hdlif_open. */
HDLIF_API hdlif_status hdlif_learner_open(const void* bytes, size_t size, const hdlif_options* options,
                                          const hdlif_trained* trained, size_t count, const uint8_t* needed,
                                          size_t nodes, const float rate[3], hdlif_learner** learner);
HDLIF_API void hdlif_learner_close(hdlif_learner* learner);
/* Runs a step of a sequence: logits [batch][outputs] of x [batch][C][H][W], normalised. t = 0 begins a
 * sequence; any other t is the next step of the same batch. With `targets`, a class of each sample, the step
 * also adds its gradients; they may be NULL. After an error, begin the sequence again. */
HDLIF_API hdlif_status hdlif_learner_step(hdlif_learner* learner, const float* x, int64_t batch, int64_t t,
                                          const int32_t* targets, float* logits);
/* Updates the weights with the mean gradient since the last update. HDLIF_ERROR_ARGUMENT if no step had
 * targets, or if a weight would not be finite: then the weights stay as they were. */
HDLIF_API hdlif_status hdlif_learner_update(hdlif_learner* learner);
/* Opens the network with its current weights, independent of the learner; close it with hdlif_close. Its
 * graph and the digest of its states are still those of the file. */
HDLIF_API hdlif_status hdlif_learner_network(hdlif_learner* learner, hdlif_network** network);

#if defined(__cplusplus)
}
#endif

#endif
