/* SPDX-License-Identifier: MIT */
/* anydma completion: the table of commands and options, as bash, zsh, fish and the manual page want it. */
#include <ctype.h>
#include <getopt.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/settings.h"
#include "cli/cli.h"
#include "cli/commands.h"

/* Whether it is a list of words to choose from ("a|b"), and not the name of a thing ("FILE"). A list may have such a name among
 * its words. */
static bool is_choice(const char *value)
{
    return strchr(value, '|') || islower((unsigned char)*value);
}

/* The words of a list, without those that are names of things, separated by blanks. */
static void print_words(const char *value)
{
    const char *between = "";
    while (*value) {
        size_t len = strcspn(value, "|");
        if (!isupper((unsigned char)*value)) {
            printf("%s%.*s", between, (int)len, value);
            between = " ";
        }
        value += len + (value[len] == '|');
    }
}

/* `text` with a backslash before each character of `special`. */
static void print_escaped(const char *text, const char *special)
{
    for (; *text; text++)
        printf("%s%c", strchr(special, *text) ? "\\" : "", *text);
}

/* --- bash --------------------------------------------------------------------------------------------------- */

static void bash_options(const struct cli_command *command)
{
    struct cli_option option;
    printf("    %s)\n        options='", command->name);
    for (size_t i = 0; cli_option_at(command, i, &option); i++)
        printf("--%s%s ", option.name, option.value ? "=" : "");
    printf("'\n        case $option in\n");
    for (size_t i = 0; cli_option_at(command, i, &option); i++) {
        if (!option.value)
            continue;
        printf("        --%s", option.name);
        if (!(option.code & CLI_LONG))
            printf(" | -%c", option.code);
        printf(") takes='");
        if (is_choice(option.value))
            print_words(option.value);
        else
            printf(strcmp(option.value, "FILE") == 0 ? "FILE" : "-");
        printf("' ;;\n");
    }
    printf("        esac\n        operand='%s'\n        ;;\n", command->arguments);
}

static void print_bash(void)
{
    printf("# bash completion for anydma, made by `anydma completion bash`\n"
           "_anydma() {\n"
           "    local cur=${COMP_WORDS[COMP_CWORD]} option='' takes='' options='' operand='' "
           "at=$((COMP_CWORD - 1))\n"
           "    COMPREPLY=()\n"
           "    if [ \"$COMP_CWORD\" = 1 ]; then\n"
           "        mapfile -t COMPREPLY < <(compgen -W '");
    for (const struct cli_command *command = cli_commands; command->name; command++)
        printf("%s ", command->name);
    printf("' -- \"$cur\")\n"
           "        return\n"
           "    fi\n"
           "    # --mode=lazy comes as three words.\n"
           "    [ \"$cur\" != = ] || { cur='' && at=$COMP_CWORD; }\n"
           "    [ \"${COMP_WORDS[at]}\" != = ] || at=$((at - 1))\n"
           "    option=${COMP_WORDS[at]}\n"
           "    if [ \"${COMP_WORDS[1]}\" = run ]; then\n"
           "        local i\n"
           "        for ((i = 2; i < COMP_CWORD; i++)); do\n"
           "            if [ \"${COMP_WORDS[i]}\" = -- ]; then\n"
           "                if declare -F _command_offset >/dev/null; then\n"
           "                    _command_offset $((i + 1))\n"
           "                elif [ $((i + 1)) = \"$COMP_CWORD\" ]; then\n"
           "                    mapfile -t COMPREPLY < <(compgen -c -- \"$cur\")\n"
           "                else\n"
           "                    mapfile -t COMPREPLY < <(compgen -f -- \"$cur\")\n"
           "                fi\n"
           "                return\n"
           "            fi\n"
           "        done\n"
           "    fi\n"
           "    case ${COMP_WORDS[1]} in\n");
    for (const struct cli_command *command = cli_commands; command->name; command++)
        bash_options(command);
    printf(
        "    esac\n"
        "    case $takes in\n"
        "    '')\n"
        "        if [[ $cur == -* ]]; then\n"
        "            mapfile -t COMPREPLY < <(compgen -W \"$options\" -- \"$cur\")\n"
        "            [[ ${COMPREPLY[*]} != *= ]] || compopt -o nospace 2>/dev/null\n"
        "            return\n"
        "        fi\n"
        "        case $operand in\n"
        "        *PID*) mapfile -t COMPREPLY < <(compgen -W \"$(cd /proc && echo [0-9]*)\" -- \"$cur\") ;;\n"
        "        '-- '*) mapfile -t COMPREPLY < <(compgen -c -- \"$cur\") ;;\n"
        "        *'|'*) mapfile -t COMPREPLY < <(compgen -W \"${operand//|/ }\" -- \"$cur\") ;;\n"
        "        ?*) mapfile -t COMPREPLY < <(compgen -f -- \"$cur\") ;;\n"
        "        esac\n"
        "        ;;\n"
        "    FILE) mapfile -t COMPREPLY < <(compgen -f -- \"$cur\") ;;\n"
        "    *[a-z0-9]*) mapfile -t COMPREPLY < <(compgen -W \"$takes\" -- \"$cur\") ;;\n"
        "    esac\n"
        "}\n"
        "complete -o filenames -F _anydma anydma\n");
}

/* --- zsh ---------------------------------------------------------------------------------------------------- */

/* Within quotes, where a quote ends them and begins them again. */
static void zsh_text(const char *text)
{
    for (; *text; text++)
        printf(*text == '\'' ? "'\\''" : strchr("[]:", *text) ? "\\%c" : "%c", *text);
}

static void zsh_option(const struct cli_option *option)
{
    bool has_letter = !(option->code & CLI_LONG);
    printf("            ");
    if (has_letter)
        printf("'(-%c --%s)'{-%c%s,--%s%s}", option->code, option->name, option->code,
               option->value ? "+" : "", option->name, option->value ? "=" : "");
    else
        printf("--%s%s", option->name, option->value ? "=" : "");
    printf("'[");
    zsh_text(option->help);
    printf("]");
    if (option->value) {
        printf(":%s:", option->name);
        if (is_choice(option->value)) {
            printf("(");
            print_words(option->value);
            printf(")");
        } else if (strcmp(option->value, "FILE") == 0) {
            printf("_files");
        }
    }
    printf("' \\\n");
}

static void zsh_operand(const char *arguments)
{
    if (strncmp(arguments, "-- ", 3) == 0)
        printf("            '*:::program:_normal'\n");
    else if (strstr(arguments, "PID"))
        printf("            '*:process:_pids'\n");
    else if (strchr(arguments, '|')) {
        printf("            '1:shell:(");
        print_words(arguments);
        printf(")'\n");
    } else
        printf("            '%s'\n", *arguments ? "*:file:_files" : "*: :");
}

static void print_zsh(void)
{
    struct cli_option option;
    printf("#compdef anydma\n"
           "# made by `anydma completion zsh`\n"
           "_anydma() {\n"
           "    local -a commands\n"
           "    commands=(\n");
    for (const struct cli_command *command = cli_commands; command->name; command++)
        printf("        '%s:", command->name), zsh_text(command->help), printf("'\n");
    printf("    )\n"
           "    if (( CURRENT == 2 )); then\n"
           "        _describe command commands\n"
           "        return\n"
           "    fi\n"
           "    shift words\n"
           "    (( CURRENT-- ))\n"
           "    case $words[1] in\n");
    for (const struct cli_command *command = cli_commands; command->name; command++) {
        printf("    %s)\n        _arguments -s \\\n", command->name);
        for (size_t i = 0; cli_option_at(command, i, &option); i++)
            zsh_option(&option);
        zsh_operand(command->arguments);
        printf("        ;;\n");
    }
    printf("    esac\n"
           "}\n"
           "if [ \"$funcstack[1]\" = _anydma ]; then _anydma \"$@\"; else compdef _anydma anydma; fi\n");
}

/* --- fish --------------------------------------------------------------------------------------------------- */

static void fish_option(const struct cli_command *command, const struct cli_option *option)
{
    printf("complete -c anydma -n '__fish_seen_subcommand_from %s' -l %s", command->name, option->name);
    if (!(option->code & CLI_LONG))
        printf(" -s %c", option->code);
    if (option->value && strcmp(option->value, "FILE") == 0) {
        printf(" -r -F");
    } else if (option->value) {
        printf(" -x");
        if (is_choice(option->value)) {
            printf(" -a '");
            print_words(option->value);
            printf("'");
        }
    }
    printf(" -d '");
    print_escaped(option->help, "'\\");
    printf("'\n");
}

static void print_fish(void)
{
    struct cli_option option;
    printf("# fish completion for anydma, made by `anydma completion fish`\n"
           "complete -c anydma -n __fish_use_subcommand -f\n");
    for (const struct cli_command *command = cli_commands; command->name; command++) {
        printf("complete -c anydma -n __fish_use_subcommand -f -a %s -d '", command->name);
        print_escaped(command->help, "'\\");
        printf("'\n");
        for (size_t i = 0; cli_option_at(command, i, &option); i++)
            fish_option(command, &option);
        if (strstr(command->arguments, "PID"))
            printf("complete -c anydma -n '__fish_seen_subcommand_from %s' -f -a '(__fish_complete_pids)'\n",
                   command->name);
        else if (strncmp(command->arguments, "-- ", 3) == 0)
            printf("complete -c anydma -n '__fish_seen_subcommand_from %s' -x -a "
                   "'(__fish_complete_subcommand --fcs-skip=2)'\n",
                   command->name);
        else if (strchr(command->arguments, '|')) {
            printf("complete -c anydma -n '__fish_seen_subcommand_from %s' -f -a '", command->name);
            print_words(command->arguments);
            printf("'\n");
        }
    }
}

/* --- the manual --------------------------------------------------------------------------------------------- */

static void man_option(const struct cli_option *option)
{
    printf(".TP\n.B ");
    if (!(option->code & CLI_LONG))
        printf("\\-%c\\fR, \\fB", option->code);
    printf("\\-\\-");
    print_escaped(option->name, "-");
    if (option->value) {
        printf("\\fR=");
        printf(is_choice(option->value) ? "%s" : "\\fI%s\\fR", option->value);
    }
    printf("\n");
    print_escaped(option->help, "-\\");
    printf("\n");
}

static void man_variables(void)
{
    for (size_t i = 0; i < NR_SETTINGS; i++) {
        const char *values = settings[i].kind == SETTING_FLAG ? "0|1" : settings[i].values;
        printf(".TP\n.B %s\\fR=%s\n", settings[i].variable, values);
        print_escaped(settings[i].help, "-\\");
        printf("\n");
    }
}

/* For shim/package/manual.sh: the options of a command, or the variables of the shim. */
static int print_man(const char *name)
{
    const struct cli_command *command = cli_find_command(name);
    struct cli_option option;
    if (strcmp(name, "variables") == 0)
        man_variables();
    else if (!command)
        return CLI_FAILED;
    else
        for (size_t i = 0; cli_option_at(command, i, &option); i++)
            man_option(&option);
    return 0;
}

int cli_completion(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*print)(void);
    } shells[] = {{"bash", print_bash}, {"zsh", print_zsh}, {"fish", print_fish}};
    if (cli_next_option(argc, argv) != -1)
        return CLI_FAILED;
    if (argc == optind + 2 && strcmp(argv[optind], "man") == 0)
        return print_man(argv[optind + 1]);
    for (size_t i = 0; argc == optind + 1 && i < sizeof(shells) / sizeof(shells[0]); i++)
        if (strcmp(argv[optind], shells[i].name) == 0) {
            shells[i].print();
            return fflush(stdout) ? CLI_FAILED : 0;
        }
    cli_usage(argv[0], stderr);
    return CLI_FAILED;
}
