/* Which cameras there are: the file `cameras` in the folder, a line `serial model user_id transport state` for each.
 *
 * The file outlives the process that plays the cameras, as a cable that was pulled does: a process that starts
 * while a camera is unplugged doesn't see it. A user_id of "-" is none.
 */
#define _POSIX_C_SOURCE 200809L
#include <stdio.h>
#include <string.h>

#include "simulator.h"

static const char *DEFAULT_LIST = "SIM0001 Simulator-1 left Custom plugged\nSIM0002 Simulator-1 right Custom plugged\n";

static void list_path(char *path, size_t bytes, const char *suffix) {
    snprintf(path, bytes, "%s/cameras%s", folder, suffix);
}

Camera *find_camera(const char *serial) {
    for (int index = 0; index < CAMERAS_MAX; index++)
        if (cameras[index].listed && strcmp(cameras[index].serial, serial) == 0) return &cameras[index];
    return NULL;
}

static Camera *add_camera(const char *serial) {
    for (int index = 0; index < CAMERAS_MAX; index++)
        if (!cameras[index].listed) {
            Camera *camera = &cameras[index];
            camera->listed = true;
            snprintf(camera->serial, sizeof camera->serial, "%s", serial);
            return camera;
        }
    return NULL;
}

void set_plugged(Camera *camera, bool plugged) {
    if (!plugged && camera->open) camera->lost = true; /* stays lost until it is opened anew, even when plugged again */
    if (camera->plugged != plugged) pthread_cond_broadcast(&camera->wake);
    camera->plugged = plugged;
}

static void take_line(const char *line) {
    char serial[NAME_BYTES], model[NAME_BYTES], user_id[NAME_BYTES], transport[NAME_BYTES], state[NAME_BYTES];
    if (sscanf(line, "%31s %31s %31s %31s %31s", serial, model, user_id, transport, state) != 5) return;
    Camera *camera = find_camera(serial);
    if (camera == NULL) camera = add_camera(serial);
    if (camera == NULL) return;
    bool fresh = strcmp(camera->model, model) != 0;
    snprintf(camera->model, NAME_BYTES, "%s", model);
    snprintf(camera->user_id, NAME_BYTES, "%s", strcmp(user_id, "-") == 0 ? "" : user_id);
    snprintf(camera->transport, NAME_BYTES, "%s", transport);
    if (fresh) load_defaults(camera);
    set_plugged(camera, strcmp(state, "plugged") == 0);
}

void read_camera_list(void) {
    char path[600], line[256];
    list_path(path, sizeof path, "");
    FILE *file = folder[0] != '\0' ? fopen(path, "r") : NULL;
    if (file == NULL) {
        for (const char *rest = DEFAULT_LIST; *rest != '\0'; rest = strchr(rest, '\n') + 1) take_line(rest);
        return;
    }
    bool unseen[CAMERAS_MAX];
    for (int index = 0; index < CAMERAS_MAX; index++) unseen[index] = cameras[index].listed;
    while (fgets(line, sizeof line, file) != NULL) {
        take_line(line);
        char serial[NAME_BYTES] = "";
        sscanf(line, "%31s", serial);
        Camera *camera = find_camera(serial);
        if (camera != NULL) unseen[camera - cameras] = false;
    }
    fclose(file);
    for (int index = 0; index < CAMERAS_MAX; index++)
        if (unseen[index]) set_plugged(&cameras[index], false);
}

void write_camera_list(void) {
    char path[600], partial[600];
    if (folder[0] == '\0') return;
    list_path(path, sizeof path, "");
    list_path(partial, sizeof partial, ".partial");
    FILE *file = fopen(partial, "w");
    if (file == NULL) return;
    for (int index = 0; index < CAMERAS_MAX; index++) {
        const Camera *camera = &cameras[index];
        if (camera->listed)
            fprintf(file, "%s %s %s %s %s\n", camera->serial, camera->model,
                    camera->user_id[0] != '\0' ? camera->user_id : "-", camera->transport,
                    camera->plugged ? "plugged" : "unplugged");
    }
    if (fclose(file) == 0) rename(partial, path);
}
