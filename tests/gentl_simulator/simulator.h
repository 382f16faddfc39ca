/* What the files of the simulator share: cameras, buffers, events, and one lock for all of it. */
#ifndef SIMULATOR_H
#define SIMULATOR_H

#include <pthread.h>
#include <stdbool.h>

#include "gentl.h"

enum { CAMERAS_MAX = 8, BUFFERS_MAX = 512, REGISTERS_BYTES = 0x1000, CHUNKS = 4, CHUNK_BYTES = 8, NAME_BYTES = 32, COUNTERS = 2 };

/* Every handle points to a struct that begins with its kind, so that a foreign or stale one is refused. */
typedef enum { MODULE_NONE, MODULE_SYSTEM, MODULE_INTERFACE, MODULE_DEVICE, MODULE_REMOTE, MODULE_STREAM, MODULE_EVENT } Module;

/* The registers of a camera, as node_maps/camera.xml names their addresses. */
enum {
    REG_VENDOR = 0x000, /* strings of NAME_BYTES */
    REG_MODEL = 0x020,
    REG_VERSION = 0x040,
    REG_SERIAL = 0x060,
    REG_USER_ID = 0x080,
    REG_SETTINGS = 0x100, /* what a user set keeps begins here */
    REG_WIDTH = 0x100,
    REG_HEIGHT = 0x104,
    REG_OFFSET_X = 0x108,
    REG_OFFSET_Y = 0x10c,
    REG_PIXEL_FORMAT = 0x110,
    REG_PAYLOAD_SIZE = 0x114,
    REG_WIDTH_MAX = 0x118,
    REG_HEIGHT_MAX = 0x11c,
    REG_ACQUISITION_MODE = 0x120,
    REG_ACQUISITION_START = 0x124,
    REG_ACQUISITION_STOP = 0x128,
    REG_FRAME_COUNT = 0x12c,
    REG_FRAME_RATE = 0x130, /* float64 */
    REG_EXPOSURE_TIME = 0x138, /* float64, us */
    REG_GAIN = 0x140, /* float64, dB */
    REG_BLACK_LEVEL = 0x148, /* float64, of 255 */
    REG_TRIGGER_SELECTOR = 0x150,
    REG_TRIGGER_MODE = 0x154,
    REG_TRIGGER_SOURCE = 0x158,
    REG_TRIGGER_ACTIVATION = 0x15c,
    REG_TRIGGER_SOFTWARE = 0x160,
    REG_TRIGGER_OVERLAP = 0x164,
    REG_REVERSE_X = 0x16c,
    REG_TRIGGER_DELAY = 0x170, /* float64, us */
    REG_ENCODER_DIVIDER = 0x178,
    REG_ENCODER_VALUE = 0x180, /* int64 */
    REG_CHUNK_MODE = 0x190,
    REG_CHUNK_SELECTOR = 0x194,
    REG_CHUNK_ENABLE = 0x198,
    REG_CHUNKS_ENABLED = 0x19c, /* bits by selector; not a feature */
    REG_PARAMS_LOCKED = 0x1a0,
    REG_COUNTER_SELECTOR = 0x1a4,
    REG_COUNTER_EVENT_SOURCE = 0x1a8, /* of the selected counter, as the value */
    REG_COUNTER_VALUE = 0x1ac,
    REG_COUNTER_RESET = 0x1b0,
    REG_USER_SET_SELECTOR = 0x1c0,
    REG_USER_SET_LOAD = 0x1c4,
    REG_USER_SET_SAVE = 0x1c8,
    REG_USER_SET_DEFAULT = 0x1cc,
    REG_TEMPERATURE = 0x1d0, /* float64, C */
    REG_COUNTERS = 0x1e0 /* COUNTERS times source and value; not a feature */
};

enum { TRIGGER_SOFTWARE, TRIGGER_LINE1, TRIGGER_ENCODER };

/* What becomes of a trigger that comes while the camera is at work: lost, or kept for the next frame. */
enum { OVERLAP_OFF, OVERLAP_PREVIOUS_FRAME };

enum { COUNTS_NOTHING, COUNTS_FRAME_TRIGGER_MISSED, COUNTS_LINE1, COUNTER_MAX = 0xffff };

enum { MONO8 = 0x01080001 }; /* the other numbers stand in pixel_formats.c */

/* The pictures that pass under the cameras, all in memory: 1 or 3 bytes a pixel. */
typedef struct {
    uint32_t width, height, channels;
    uint8_t *pixels;
} Picture;

typedef enum { BUFFER_ANNOUNCED, BUFFER_QUEUED, BUFFER_FILLING, BUFFER_OUTPUT, BUFFER_WITH_USER } BufferState;

/* What the camera looked like when a frame was exposed. */
typedef struct {
    uint32_t width, height, offset_x, offset_y, pixel_format, padding, delivered_height;
    double exposure_us, gain_db, black_level;
    bool reverse_x;
    uint64_t frame_id, timestamp_ns, part;
    uint32_t counters[COUNTERS];
    bool incomplete;
} Exposure;

typedef struct {
    uint8_t *base;
    void *user;
    size_t size, filled, image_bytes;
    BufferState state;
    bool own, new_data;
    Exposure exposure;
    uint32_t chunks;
    SINGLE_CHUNK_DATA chunk[CHUNKS];
} Buffer;

enum { EVENT_QUEUE = 1024 };

typedef struct Event {
    Module kind;
    int32_t type;
    struct Event **slot; /* where its module keeps it */
    bool killed;
    int waiters;
    pthread_cond_t wake;
    Buffer *queue[EVENT_QUEUE];
    int first, count;
    uint64_t fired;
} Event;

/* Faults that the control socket sets; counts run down to 0. */
typedef struct {
    double stalled_until_s;
    uint32_t drop, incomplete, duplicate, short_frames, short_lines;
    uint32_t slow_ms, padding_bytes;
    bool ids_of_16_bits, no_buffer_info, missed_take_ids;
} Faults;

typedef struct Camera Camera;

typedef struct {
    Module kind;
    Camera *camera;
} Part; /* a module of a camera other than the device itself */

struct Camera {
    Module kind; /* MODULE_DEVICE: the handle of the local device */
    Part remote, stream;
    char serial[NAME_BYTES], model[NAME_BYTES], user_id[NAME_BYTES], transport[NAME_BYTES];
    bool listed, plugged, open, lost, stream_open;
    uint64_t registers[REGISTERS_BYTES / 8], user_set[REGISTERS_BYTES / 8];
    Faults faults;
    Event *module_event, *remote_event, *buffer_event;

    Buffer *buffers[BUFFERS_MAX];
    int buffer_count;
    Buffer *input[BUFFERS_MAX]; /* queued buffers, the oldest first */
    int input_count;

    pthread_t thread;
    pthread_cond_t wake;
    bool grabbing, acquiring, exposing;
    bool begun; /* by a trigger that found the camera at rest: the counters of the frame are those of that pulse */
    uint32_t counters[COUNTERS]; /* as they were at the start of the frame */
    uint32_t triggers, frames_left;
    uint64_t next_id, parts, missed, delivered, underruns, frames_to_deliver;
};

extern pthread_mutex_t lock; /* guards everything above */
extern Camera cameras[CAMERAS_MAX];
extern char folder[512]; /* $GENTL_SIMULATOR_FOLDER */
extern bool initialised;

/* library.c */
GC_ERROR fail(GC_ERROR error, const char *text);
GC_ERROR give(int32_t type, const void *value, size_t bytes, int32_t *type_out, void *out, size_t *size);
GC_ERROR give_text(const char *text, int32_t *type_out, void *out, size_t *size);
GC_ERROR give_i32(int32_t value, int32_t *type_out, void *out, size_t *size);
GC_ERROR give_u32(uint32_t value, int32_t *type_out, void *out, size_t *size);
GC_ERROR give_u64(uint64_t value, int32_t *type_out, void *out, size_t *size);
GC_ERROR give_size(size_t value, int32_t *type_out, void *out, size_t *size);
GC_ERROR give_bool(bool value, int32_t *type_out, void *out, size_t *size);
GC_ERROR give_pointer(void *value, int32_t *type_out, void *out, size_t *size);
Module kind_of(const void *handle);
Camera *camera_of(const void *handle);
double now_s(void);
struct timespec at_s(double when_s);
void make_condition(pthread_cond_t *condition);

/* cameras.c */
void read_camera_list(void);
void write_camera_list(void);
Camera *find_camera(const char *serial);
void set_plugged(Camera *camera, bool plugged);

/* registers.c */
uint32_t get_u32(const Camera *camera, int address);
void set_u32(Camera *camera, int address, uint32_t value);
double get_f64(const Camera *camera, int address);
void set_f64(Camera *camera, int address, double value);
void load_defaults(Camera *camera);
size_t payload_bytes(const Camera *camera);
GC_ERROR read_registers(Camera *camera, uint64_t address, void *out, size_t bytes);
GC_ERROR write_registers(Camera *camera, uint64_t address, const void *data, size_t bytes);
void line_pulse(Camera *camera, uint32_t count);
void turn_encoder(Camera *camera, uint32_t counts);
void keep_counters(Camera *camera);

/* pictures.c */
void load_pictures(void);
void sensor_size(uint32_t *width, uint32_t *height);
const Picture *picture_of(uint64_t part);

/* pixel_formats.c */
size_t line_bytes(uint32_t pixel_format, uint32_t width);
void render(const Picture *picture, const Exposure *exposure, uint8_t *out, uint32_t lines);

/* acquisition.c */
void *acquire(void *camera);
uint64_t take_id(Camera *camera);
void stop_grabbing(Camera *camera);

/* events.c */
void fire(Event *event, Buffer *buffer);
void forget_delivered(Camera *camera, const Buffer *only);
void free_event(Event **slot);

/* device.c */
void close_device(Camera *camera);
GC_ERROR device_info(const Camera *camera, int32_t what, int32_t *type, void *out, size_t *size);

/* control.c */
void open_control(void);
void close_control(void);

#endif
