/* JSON that is read or written holds passwords and tokens: its memory is wiped when it is freed. */
#ifndef KB_BASE_JSON_MEMORY_H
#define KB_BASE_JSON_MEMORY_H

/* To be called before the first use of jansson by any thread; more calls do nothing. */
void kb_json_memory_start(void);

#endif
