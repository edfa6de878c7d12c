/* Where the daemon's admin socket is, read from its configuration. */
#ifndef KB_CLI_RUNTIME_DIR_H
#define KB_CLI_RUNTIME_DIR_H

#define KB_DEFAULT_CONFIG "/etc/kerbside/kerbside.yaml"
#define KB_DEFAULT_RUNTIME_DIR "/run/kerbside"

/* The configuration's runtime_dir, made absolute from where the file is; the default if it does not
 * say. NULL with *problem (to be freed) if file is not readable YAML. */
char *kb_runtime_dir_read(const char *file, char **problem);

#endif
