/* The library itself, its system module and its one interface (GenTL 6.2 to 6.4), and helpers for all files. */
#define _POSIX_C_SOURCE 200809L
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "simulator.h"

pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
Camera cameras[CAMERAS_MAX];
#ifndef FOLDER /* where to play from if GENTL_SIMULATOR_FOLDER does not say it */
#define FOLDER ""
#endif

char folder[512];
bool initialised;

static Module system_module = MODULE_SYSTEM, interface_module = MODULE_INTERFACE;
static bool system_open, interface_open;
static __thread GC_ERROR last_error;
static __thread char last_text[160];

/* ---- helpers ---- */

GC_ERROR fail(GC_ERROR error, const char *text) {
    last_error = error;
    snprintf(last_text, sizeof last_text, "%s", text);
    return error;
}

/* The way in which every Get...Info answers (GenTL 6.1.2): a NULL buffer asks for the size. */
GC_ERROR give(int32_t type, const void *value, size_t bytes, int32_t *type_out, void *out, size_t *size) {
    if (size == NULL) return fail(GC_ERR_INVALID_PARAMETER, "piSize is NULL");
    if (type_out != NULL) *type_out = type;
    size_t room = *size;
    *size = bytes;
    if (out == NULL) return GC_ERR_SUCCESS;
    if (room < bytes) return fail(GC_ERR_BUFFER_TOO_SMALL, "the buffer is too small");
    memcpy(out, value, bytes);
    return GC_ERR_SUCCESS;
}

GC_ERROR give_text(const char *text, int32_t *type, void *out, size_t *size) {
    return give(TYPE_STRING, text, strlen(text) + 1, type, out, size);
}

GC_ERROR give_i32(int32_t value, int32_t *type, void *out, size_t *size) {
    return give(TYPE_INT32, &value, sizeof value, type, out, size);
}

GC_ERROR give_u32(uint32_t value, int32_t *type, void *out, size_t *size) {
    return give(TYPE_UINT32, &value, sizeof value, type, out, size);
}

GC_ERROR give_u64(uint64_t value, int32_t *type, void *out, size_t *size) {
    return give(TYPE_UINT64, &value, sizeof value, type, out, size);
}

GC_ERROR give_size(size_t value, int32_t *type, void *out, size_t *size) {
    return give(TYPE_SIZET, &value, sizeof value, type, out, size);
}

GC_ERROR give_bool(bool value, int32_t *type, void *out, size_t *size) {
    bool8_t byte = value;
    return give(TYPE_BOOL8, &byte, sizeof byte, type, out, size);
}

GC_ERROR give_pointer(void *value, int32_t *type, void *out, size_t *size) {
    return give(TYPE_PTR, &value, sizeof value, type, out, size);
}

Module kind_of(const void *handle) {
    return handle == NULL ? MODULE_NONE : *(const Module *)handle;
}

Camera *camera_of(const void *handle) {
    switch (kind_of(handle)) {
        case MODULE_DEVICE: return (Camera *)handle;
        case MODULE_REMOTE:
        case MODULE_STREAM: return ((const Part *)handle)->camera;
        default: return NULL;
    }
}

double now_s(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

struct timespec at_s(double when_s) {
    struct timespec when = {(time_t)when_s, (long)((when_s - (double)(time_t)when_s) * 1e9)};
    return when;
}

void make_condition(pthread_cond_t *condition) {
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC); /* a step of the wall clock must not end a wait */
    pthread_cond_init(condition, &attributes);
    pthread_condattr_destroy(&attributes);
}

/* ---- library ---- */

GENTL_API GC_ERROR GCInitLib(void) {
    if (initialised) return fail(GC_ERR_RESOURCE_IN_USE, "the library is initialised already");
    const char *named = getenv("GENTL_SIMULATOR_FOLDER");
    snprintf(folder, sizeof folder, "%s", named != NULL ? named : FOLDER);
    pthread_mutex_lock(&lock);
    for (int index = 0; index < CAMERAS_MAX; index++) {
        Camera *camera = &cameras[index];
        memset(camera, 0, sizeof *camera);
        camera->kind = MODULE_DEVICE;
        camera->remote = (Part){MODULE_REMOTE, camera}; /* another handle than the device's: they are two ports */
        camera->stream = (Part){MODULE_STREAM, camera};
        make_condition(&camera->wake);
    }
    load_pictures();
    open_control(); /* before the list is read: whoever changes it then finds a socket to say so, or is read */
    read_camera_list();
    initialised = true;
    pthread_mutex_unlock(&lock);
    return GC_ERR_SUCCESS;
}

GENTL_API GC_ERROR GCCloseLib(void) {
    if (!initialised) return fail(GC_ERR_NOT_INITIALIZED, "the library is not initialised");
    close_control();
    for (int index = 0; index < CAMERAS_MAX; index++)
        if (cameras[index].open) close_device(&cameras[index]);
    pthread_mutex_lock(&lock);
    system_open = interface_open = initialised = false;
    pthread_mutex_unlock(&lock);
    return GC_ERR_SUCCESS;
}

GENTL_API GC_ERROR GCGetLastError(GC_ERROR *error, char *text, size_t *size) {
    if (error != NULL) *error = last_error;
    if (size == NULL) return GC_ERR_INVALID_PARAMETER;
    size_t room = *size, bytes = strlen(last_text) + 1;
    *size = bytes;
    if (text == NULL) return GC_ERR_SUCCESS;
    if (room < bytes) return GC_ERR_BUFFER_TOO_SMALL;
    memcpy(text, last_text, bytes);
    return GC_ERR_SUCCESS;
}

/* ---- system ---- */

static GC_ERROR system_info(int32_t what, int32_t *type, void *out, size_t *size) {
    switch (what) {
        case TL_INFO_ID: return give_text("GenTLSimulator", type, out, size);
        case TL_INFO_VENDOR: return give_text("Conveyor Inspector", type, out, size);
        case TL_INFO_MODEL: return give_text("GenTL Simulator", type, out, size);
        case TL_INFO_VERSION: return give_text("1.0", type, out, size);
        case TL_INFO_TLTYPE: return give_text("Custom", type, out, size);
        case TL_INFO_NAME:
        case TL_INFO_PATHNAME: return give_text("gentl_simulator.cti", type, out, size);
        case TL_INFO_DISPLAYNAME: return give_text("GenTL Simulator", type, out, size);
        case TL_INFO_CHAR_ENCODING: return give_i32(1, type, out, size); /* UTF-8 */
        case TL_INFO_GENTL_VER_MAJOR: return give_u32(1, type, out, size);
        case TL_INFO_GENTL_VER_MINOR: return give_u32(5, type, out, size);
        default: return fail(GC_ERR_NOT_AVAILABLE, "unknown information about the system");
    }
}

GENTL_API GC_ERROR GCGetInfo(int32_t what, int32_t *type, void *out, size_t *size) {
    return system_info(what, type, out, size);
}

GENTL_API GC_ERROR TLGetInfo(void *system, int32_t what, int32_t *type, void *out, size_t *size) {
    (void)system;
    return system_info(what, type, out, size);
}

GENTL_API GC_ERROR TLOpen(void **system) {
    if (!initialised) return fail(GC_ERR_NOT_INITIALIZED, "GCInitLib comes first");
    if (system_open) return fail(GC_ERR_RESOURCE_IN_USE, "the system is open");
    system_open = true;
    *system = &system_module;
    return GC_ERR_SUCCESS;
}

GENTL_API GC_ERROR TLClose(void *system) {
    if (kind_of(system) != MODULE_SYSTEM) return fail(GC_ERR_INVALID_HANDLE, "no system");
    system_open = false;
    return GC_ERR_SUCCESS;
}

GENTL_API GC_ERROR TLUpdateInterfaceList(void *system, bool8_t *changed, uint64_t timeout_ms) {
    (void)system, (void)timeout_ms;
    if (changed != NULL) *changed = 1;
    return GC_ERR_SUCCESS;
}

GENTL_API GC_ERROR TLGetNumInterfaces(void *system, uint32_t *count) {
    (void)system;
    *count = 1;
    return GC_ERR_SUCCESS;
}

GENTL_API GC_ERROR TLGetInterfaceID(void *system, uint32_t index, char *out, size_t *size) {
    (void)system;
    if (index != 0) return fail(GC_ERR_INVALID_INDEX, "there is one interface");
    return give_text("Conveyor", NULL, out, size);
}

static GC_ERROR interface_info(int32_t what, int32_t *type, void *out, size_t *size) {
    switch (what) {
        case INTERFACE_INFO_ID: return give_text("Conveyor", type, out, size);
        case INTERFACE_INFO_DISPLAYNAME: return give_text("Simulated conveyor", type, out, size);
        case INTERFACE_INFO_TLTYPE: return give_text("Custom", type, out, size);
        default: return fail(GC_ERR_NOT_AVAILABLE, "unknown information about the interface");
    }
}

GENTL_API GC_ERROR TLGetInterfaceInfo(void *system, const char *id, int32_t what, int32_t *type, void *out,
                                      size_t *size) {
    (void)system, (void)id;
    return interface_info(what, type, out, size);
}

/* ---- interface ---- */

GENTL_API GC_ERROR TLOpenInterface(void *system, const char *id, void **interface) {
    (void)system;
    if (strcmp(id, "Conveyor") != 0) return fail(GC_ERR_INVALID_ID, "there is no such interface");
    if (interface_open) return fail(GC_ERR_RESOURCE_IN_USE, "the interface is open");
    interface_open = true;
    *interface = &interface_module;
    return GC_ERR_SUCCESS;
}

GENTL_API GC_ERROR IFClose(void *interface) {
    if (kind_of(interface) != MODULE_INTERFACE) return fail(GC_ERR_INVALID_HANDLE, "no interface");
    interface_open = false;
    return GC_ERR_SUCCESS;
}

GENTL_API GC_ERROR IFGetInfo(void *interface, int32_t what, int32_t *type, void *out, size_t *size) {
    (void)interface;
    return interface_info(what, type, out, size);
}

GENTL_API GC_ERROR IFGetParentTL(void *interface, void **system) {
    (void)interface;
    *system = &system_module;
    return GC_ERR_SUCCESS;
}

GENTL_API GC_ERROR IFUpdateDeviceList(void *interface, bool8_t *changed, uint64_t timeout_ms) {
    (void)interface, (void)timeout_ms;
    pthread_mutex_lock(&lock);
    read_camera_list();
    pthread_mutex_unlock(&lock);
    if (changed != NULL) *changed = 1;
    return GC_ERR_SUCCESS;
}

GENTL_API GC_ERROR IFGetNumDevices(void *interface, uint32_t *count) {
    (void)interface;
    pthread_mutex_lock(&lock);
    *count = 0;
    for (int index = 0; index < CAMERAS_MAX; index++) *count += cameras[index].plugged;
    pthread_mutex_unlock(&lock);
    return GC_ERR_SUCCESS;
}

GENTL_API GC_ERROR IFGetDeviceID(void *interface, uint32_t place, char *out, size_t *size) {
    (void)interface;
    pthread_mutex_lock(&lock);
    GC_ERROR result = fail(GC_ERR_INVALID_INDEX, "there is no such device");
    for (int index = 0; index < CAMERAS_MAX; index++)
        if (cameras[index].plugged && place-- == 0) {
            result = give_text(cameras[index].serial, NULL, out, size);
            break;
        }
    pthread_mutex_unlock(&lock);
    return result;
}

GENTL_API GC_ERROR IFGetDeviceInfo(void *interface, const char *id, int32_t what, int32_t *type, void *out,
                                   size_t *size) {
    (void)interface;
    pthread_mutex_lock(&lock);
    Camera *camera = find_camera(id);
    GC_ERROR result = camera != NULL ? device_info(camera, what, type, out, size)
                                     : fail(GC_ERR_INVALID_ID, "there is no such device");
    pthread_mutex_unlock(&lock);
    return result;
}
