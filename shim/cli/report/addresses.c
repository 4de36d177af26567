/* SPDX-License-Identifier: MIT */
/* anydma-report addresses PID ADDRESS...: names return addresses of a running process, which waits for it: the shim's own, for
 * the call stacks of a hazard. One line each, as sanitizers print them. */
#include <dwarf.h>
#include <elfutils/libdwfl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/report/symbols.h"

int cli_addresses(int argc, char **argv)
{
    static char *debug_path;
    static const Dwfl_Callbacks callbacks = {.find_elf = dwfl_linux_proc_find_elf,
                                             .find_debuginfo = dwfl_standard_find_debuginfo,
                                             .debuginfo_path = &debug_path};
    Dwfl *dwfl = argc > 2 ? dwfl_begin(&callbacks) : NULL;
    symbols_ask_nobody();
    if (!dwfl)
        return CLI_FAILED;
    bool is_known = dwfl_linux_proc_report(dwfl, atoi(argv[1])) == 0;
    dwfl_report_end(dwfl, NULL, NULL);
    for (int i = 2; i < argc; i++) {
        uint64_t address = strtoull(argv[i], NULL, 16);
        Dwfl_Module *module = is_known ? dwfl_addrmodule(dwfl, address - 1) : NULL;
        char *names[SYMBOLS_MOST], *files[SYMBOLS_MOST];
        int lines[SYMBOLS_MOST];
        size_t nr = module ? symbols_of_module(module, address - 1, names, files, lines) : 0;
        Dwarf_Addr begin = 0;
        const char *path =
            module ? dwfl_module_info(module, NULL, &begin, NULL, NULL, NULL, NULL, NULL) : NULL;
        for (size_t n = 0; n < nr; n++) {
            printf("    #%d %s %s%s", i - 2, argv[i], names[n], files[n] ? " " : "");
            if (files[n])
                printf("%s:%d", files[n], lines[n]);
            printf(" (%s)%s\n", path, n + 1 < nr ? " (inlined)" : "");
            free(names[n]);
        }
        if (!nr && path)
            printf("    #%d %s (%s+0x%" PRIx64 ")\n", i - 2, argv[i], path, address - begin);
        else if (!nr)
            printf("    #%d %s\n", i - 2, argv[i]);
    }
    dwfl_end(dwfl);
    return 0;
}
