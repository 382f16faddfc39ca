/* Ports: how the reader gets at registers and node maps (GenTL 6.6). Every module has one, with an XML of its own. */
#define _POSIX_C_SOURCE 200809L
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "simulator.h"

#ifndef NODE_MAPS
#error "compile with -DNODE_MAPS='\"folder of the XML files\"'"
#endif

enum { XML_ADDRESS = 0x100000 };

/* A port's name must be that of the XML's <Port>, else its nodes can't be written. */
typedef struct {
    const char *file, *port, *module;
    char *xml;
    size_t bytes;
} NodeMap;

static NodeMap node_maps[] = {
    [MODULE_SYSTEM] = {"system.xml", "SystemPort", "TLSystem", NULL, 0},
    [MODULE_INTERFACE] = {"interface.xml", "InterfacePort", "TLInterface", NULL, 0},
    [MODULE_DEVICE] = {"device.xml", "DevicePort", "TLDevice", NULL, 0},
    [MODULE_REMOTE] = {"camera.xml", "Device", "Device", NULL, 0},
    [MODULE_STREAM] = {"stream.xml", "StreamPort", "TLDataStream", NULL, 0},
};

/* The node map of a handle, read from its file at the first use; NULL if there is none. */
static NodeMap *node_map_of(const void *handle) {
    Module kind = kind_of(handle);
    if (kind < MODULE_SYSTEM || kind > MODULE_STREAM) return NULL;
    NodeMap *map = &node_maps[kind];
    if (map->xml != NULL) return map;
    char path[600];
    snprintf(path, sizeof path, "%s/%s", NODE_MAPS, map->file);
    FILE *file = fopen(path, "rb");
    if (file == NULL) return NULL;
    fseek(file, 0, SEEK_END);
    long bytes = ftell(file);
    rewind(file);
    char *xml = bytes > 0 ? malloc((size_t)bytes) : NULL;
    if (xml != NULL && fread(xml, 1, (size_t)bytes, file) == (size_t)bytes) {
        map->bytes = (size_t)bytes;
        map->xml = xml;
    } else {
        free(xml);
    }
    fclose(file);
    return map->xml != NULL ? map : NULL;
}

static GC_ERROR read_port(void *port, uint64_t address, void *out, size_t bytes) {
    NodeMap *map = node_map_of(port);
    if (map == NULL) return fail(GC_ERR_INVALID_HANDLE, "no port, or its XML is missing");
    if (address >= XML_ADDRESS) {
        if (address - XML_ADDRESS + bytes > map->bytes) return fail(GC_ERR_INVALID_ADDRESS, "beyond the XML");
        memcpy(out, map->xml + (address - XML_ADDRESS), bytes);
        return GC_ERR_SUCCESS;
    }
    if (kind_of(port) == MODULE_REMOTE) return read_registers(camera_of(port), address, out, bytes);
    /* The other modules have one register: their name. */
    char name[64] = "";
    Camera *camera = camera_of(port);
    snprintf(name, sizeof name, "%s", camera != NULL ? camera->serial : map->module);
    memset(out, 0, bytes);
    if (address < sizeof name) {
        size_t rest = sizeof name - (size_t)address;
        memcpy(out, name + address, bytes < rest ? bytes : rest);
    }
    return GC_ERR_SUCCESS;
}

GENTL_API GC_ERROR GCReadPort(void *port, uint64_t address, void *out, size_t *size) {
    pthread_mutex_lock(&lock);
    GC_ERROR result = read_port(port, address, out, *size);
    pthread_mutex_unlock(&lock);
    return result;
}

GENTL_API GC_ERROR GCWritePort(void *port, uint64_t address, const void *data, size_t *size) {
    if (kind_of(port) != MODULE_REMOTE) return GC_ERR_SUCCESS;
    pthread_mutex_lock(&lock);
    GC_ERROR result = write_registers(camera_of(port), address, data, *size);
    pthread_mutex_unlock(&lock);
    return result;
}

GENTL_API GC_ERROR GCReadPortStacked(void *port, PORT_REGISTER_STACK_ENTRY *entries, size_t *count) {
    for (size_t index = 0; index < *count; index++) {
        GC_ERROR result = GCReadPort(port, entries[index].Address, entries[index].pBuffer, &entries[index].Size);
        if (result != GC_ERR_SUCCESS) {
            *count = index; /* how many were read (GenTL 6.6.2) */
            return result;
        }
    }
    return GC_ERR_SUCCESS;
}

GENTL_API GC_ERROR GCWritePortStacked(void *port, PORT_REGISTER_STACK_ENTRY *entries, size_t *count) {
    for (size_t index = 0; index < *count; index++) {
        GC_ERROR result = GCWritePort(port, entries[index].Address, entries[index].pBuffer, &entries[index].Size);
        if (result != GC_ERR_SUCCESS) {
            *count = index;
            return result;
        }
    }
    return GC_ERR_SUCCESS;
}

static void write_url(const NodeMap *map, char *url, size_t bytes) {
    snprintf(url, bytes, "Local:///%s;%X;%zX?SchemaVersion=1.1.0", map->file, XML_ADDRESS, map->bytes);
}

GENTL_API GC_ERROR GCGetPortURL(void *port, char *out, size_t *size) {
    char url[160];
    NodeMap *map = node_map_of(port);
    if (map == NULL) return fail(GC_ERR_INVALID_HANDLE, "no port, or its XML is missing");
    write_url(map, url, sizeof url);
    return give_text(url, NULL, out, size);
}

GENTL_API GC_ERROR GCGetNumPortURLs(void *port, uint32_t *count) {
    if (node_map_of(port) == NULL) return fail(GC_ERR_INVALID_HANDLE, "no port, or its XML is missing");
    *count = 1; /* 0 is taken for an error by harvesters */
    return GC_ERR_SUCCESS;
}

GENTL_API GC_ERROR GCGetPortURLInfo(void *port, uint32_t index, int32_t what, int32_t *type, void *out, size_t *size) {
    char url[160];
    NodeMap *map = node_map_of(port);
    if (map == NULL) return fail(GC_ERR_INVALID_HANDLE, "no port, or its XML is missing");
    if (index != 0) return fail(GC_ERR_INVALID_INDEX, "there is one URL");
    write_url(map, url, sizeof url);
    switch (what) {
        case URL_INFO_URL: return give_text(url, type, out, size);
        case URL_INFO_SCHEMA_VER_MAJOR:
        case URL_INFO_SCHEMA_VER_MINOR:
        case URL_INFO_FILE_VER_MAJOR: return give_i32(1, type, out, size);
        case URL_INFO_FILE_VER_MINOR:
        case URL_INFO_FILE_VER_SUBMINOR:
        case URL_INFO_SCHEME: return give_i32(0, type, out, size); /* scheme 0: Local */
        case URL_INFO_FILE_REGISTER_ADDRESS: return give_u64(XML_ADDRESS, type, out, size);
        case URL_INFO_FILE_SIZE: return give_u64(map->bytes, type, out, size);
        case URL_INFO_FILENAME: return give_text(map->file, type, out, size);
        default: return fail(GC_ERR_NOT_AVAILABLE, "unknown information about the URL");
    }
}

GENTL_API GC_ERROR GCGetPortInfo(void *port, int32_t what, int32_t *type, void *out, size_t *size) {
    NodeMap *map = node_map_of(port);
    if (map == NULL) return fail(GC_ERR_INVALID_HANDLE, "no port, or its XML is missing");
    Camera *camera = camera_of(port);
    switch (what) {
        case PORT_INFO_ID: return give_text(camera != NULL ? camera->serial : map->port, type, out, size);
        case PORT_INFO_VENDOR: return give_text("Conveyor Inspector", type, out, size);
        case PORT_INFO_MODEL: return give_text(camera != NULL ? camera->model : "GenTL Simulator", type, out, size);
        case PORT_INFO_TLTYPE: return give_text("Custom", type, out, size);
        case PORT_INFO_MODULE: return give_text(map->module, type, out, size);
        case PORT_INFO_LITTLE_ENDIAN:
        case PORT_INFO_ACCESS_READ:
        case PORT_INFO_ACCESS_WRITE: return give_bool(true, type, out, size);
        case PORT_INFO_BIG_ENDIAN:
        case PORT_INFO_ACCESS_NA:
        case PORT_INFO_ACCESS_NI: return give_bool(false, type, out, size);
        case PORT_INFO_VERSION: return give_text("1.0.0", type, out, size);
        case PORT_INFO_PORTNAME: return give_text(map->port, type, out, size); /* without it no device is listed */
        default: return fail(GC_ERR_NOT_AVAILABLE, "unknown information about the port");
    }
}
