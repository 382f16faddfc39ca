/* The parts on the conveyor: the .pgm and .ppm files of the folder `parts`, in the order of their names.
 *
 * Raw portable maps (P5 and P6, 8 bits) need no library to be read. All are held in memory.
 */
#define _POSIX_C_SOURCE 200809L
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "simulator.h"

enum { PICTURES_MAX = 4096, SIDE_MAX = 16384 };

static Picture pictures[PICTURES_MAX];
static uint32_t picture_count;

static bool read_picture(const char *path, Picture *picture) {
    FILE *file = fopen(path, "rb");
    if (file == NULL) return false;
    char kind;
    unsigned width, height, top;
    uint8_t *pixels = NULL;
    /* One white space stands between the header and the pixels. */
    bool known = fscanf(file, "P%c %u %u %u", &kind, &width, &height, &top) == 4 && fgetc(file) != EOF &&
                 (kind == '5' || kind == '6') && top == 255 && width > 0 && width <= SIDE_MAX && height > 0 &&
                 height <= SIDE_MAX;
    if (known) {
        uint32_t channels = kind == '6' ? 3 : 1;
        size_t bytes = (size_t)width * height * channels;
        pixels = malloc(bytes);
        known = pixels != NULL && fread(pixels, 1, bytes, file) == bytes;
        if (known)
            *picture = (Picture){width, height, channels, pixels};
        else
            free(pixels);
    }
    fclose(file);
    return known;
}

static int is_map(const struct dirent *entry) {
    const char *suffix = strrchr(entry->d_name, '.');
    return suffix != NULL && (strcmp(suffix, ".pgm") == 0 || strcmp(suffix, ".ppm") == 0);
}

/* Without pictures: a grey wedge with a stripe that moves with the part. */
static void draw_pictures(void) {
    enum { WIDTH = 640, HEIGHT = 480, PARTS = 16 };
    for (uint32_t part = 0; part < PARTS; part++) {
        uint8_t *pixels = malloc((size_t)WIDTH * HEIGHT);
        if (pixels == NULL) return;
        for (uint32_t y = 0; y < HEIGHT; y++)
            for (uint32_t x = 0; x < WIDTH; x++)
                pixels[y * WIDTH + x] = (uint8_t)(x / (WIDTH / PARTS) == part ? 250 : 40 + x / 8 + y / 8);
        pictures[picture_count++] = (Picture){WIDTH, HEIGHT, 1, pixels};
    }
}

void load_pictures(void) {
    char path[600], file[1200];
    while (picture_count > 0) free(pictures[--picture_count].pixels);
    struct dirent **entries;
    snprintf(path, sizeof path, "%s/parts", folder);
    int found = folder[0] != '\0' ? scandir(path, &entries, is_map, alphasort) : -1;
    for (int index = 0; index < found; index++) {
        snprintf(file, sizeof file, "%s/%s", path, entries[index]->d_name);
        if (picture_count < PICTURES_MAX && read_picture(file, &pictures[picture_count])) picture_count++;
        free(entries[index]);
    }
    if (found >= 0) free(entries);
    if (picture_count == 0) draw_pictures();
}

void sensor_size(uint32_t *width, uint32_t *height) {
    *width = pictures[0].width;
    *height = pictures[0].height;
}

const Picture *picture_of(uint64_t part) {
    return &pictures[part % picture_count];
}
