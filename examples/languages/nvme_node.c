/* SPDX-License-Identifier: MIT */
/* The driver of ../nvme.h for Node, by Node-API: open(bdf), read(lba, buffer), write(lba, buffer). One drive. */
#include "nvme.h"
/* What is used here of Node's node_api.h; that interface stays as it is. */
typedef void *napi_env, *napi_value, *napi_info;
typedef napi_value napi_callback(napi_env env, napi_info info);
int napi_create_function(napi_env, const char *name, size_t, napi_callback *, void *data, napi_value *result);
int napi_set_named_property(napi_env, napi_value object, const char *name, napi_value value);
int napi_get_cb_info(napi_env, napi_info, size_t *nr, napi_value *args, napi_value *self, void **data);
int napi_get_buffer_info(napi_env, napi_value value, void **data, size_t *bytes);
int napi_get_value_string_utf8(napi_env, napi_value value, char *text, size_t max, size_t *len);
int napi_get_value_int64(napi_env, napi_value value, int64_t *number);
int napi_create_int64(napi_env, int64_t number, napi_value *result);
int napi_add_env_cleanup_hook(napi_env, void (*hook)(void *), void *arg);
napi_value napi_register_module_v1(napi_env env, napi_value exports); /* what Node calls */

static struct nvme nvme;
static void close_drive(void *drive)
{
    nvme_close(drive);
}

/* The bytes of a block; 0: it could not be opened. It is closed when Node ends. */
static napi_value open_drive(napi_env env, napi_info info)
{
    char bdf[32];
    size_t nr = 1, len;
    napi_value arg = NULL, result = NULL;
    napi_get_cb_info(env, info, &nr, &arg, NULL, NULL);
    if (!napi_get_value_string_utf8(env, arg, bdf, sizeof(bdf), &len) && nvme_open(&nvme, bdf) == 0)
        napi_add_env_cleanup_hook(env, close_drive, &nvme);
    napi_create_int64(env, (int64_t)nvme.block_bytes, &result);
    return result;
}

/* 0 or -errno; both functions, told apart by their `data`. */
static napi_value move(napi_env env, napi_info info)
{
    napi_value args[2] = {NULL}, result = NULL;
    size_t nr = 2, bytes;
    int64_t lba, rc = -EINVAL;
    void *buf, *is_write = NULL;
    napi_get_cb_info(env, info, &nr, args, NULL, &is_write);
    if (!napi_get_value_int64(env, args[0], &lba) && !napi_get_buffer_info(env, args[1], &buf, &bytes))
        rc = is_write ? nvme_write(&nvme, lba, buf, bytes) : nvme_read(&nvme, lba, buf, bytes);
    napi_create_int64(env, rc, &result);
    return result;
}

napi_value napi_register_module_v1(napi_env env, napi_value exports)
{
    napi_value opens, reads, writes;
    napi_create_function(env, "open", SIZE_MAX, open_drive, NULL, &opens);
    napi_create_function(env, "read", SIZE_MAX, move, NULL, &reads);
    napi_create_function(env, "write", SIZE_MAX, move, &nvme, &writes);
    napi_set_named_property(env, exports, "open", opens);
    napi_set_named_property(env, exports, "read", reads);
    napi_set_named_property(env, exports, "write", writes);
    return exports;
}
