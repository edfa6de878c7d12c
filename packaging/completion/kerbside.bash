# Completion of kerbside(8) for bash. It asks the program itself for its commands and options, so it
# is never behind it.

_kerbside() {
    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]} program=${COMP_WORDS[0]}
    local word skip='' words=() i help option roles='admin operator auditor broker user agent none'
    COMPREPLY=()
    case $prev in
    -c | --config | --cacert | --key-file | --ticket-file | -o | --output)
        mapfile -t COMPREPLY < <(compgen -f -- "$cur")
        return
        ;;
    --role)
        mapfile -t COMPREPLY < <(compgen -W "$roles" -- "$cur")
        return
        ;;
    esac
    help=$("$program" --help 2> /dev/null)
    for ((i = 1; i < COMP_CWORD; i++)); do
        word=${COMP_WORDS[i]}
        if [ -n "$skip" ]; then
            skip=''
        elif [[ $word == -* ]]; then
            # Does it take a value? Any command that knows it says so.
            case $word in
            --json | --follow | --reusable | --restart | --password-stdin | --help | -h) ;;
            *) skip=1 ;;
            esac
        else
            words+=("$word")
        fi
    done
    [ "${words[0]}" = help ] && words=("${words[@]:1}")
    if [[ $cur == -* ]]; then
        option=$("$program" "${words[@]:0:2}" --help 2> /dev/null |
            sed -n 's/^ *\(-[a-z], *\)\{0,1\}\(--[a-z-]*\).*/\2/p')
        mapfile -t COMPREPLY < <(compgen -W "$option" -- "$cur")
    elif [ ${#words[@]} -eq 0 ]; then
        word=$(sed -n 's/^  \([a-z]*\)[ a-z]*  .*/\1/p' <<< "$help" | sort -u)
        mapfile -t COMPREPLY < <(compgen -W "$word help" -- "$cur")
    elif [ ${#words[@]} -eq 1 ]; then
        word=$(sed -n "s/^  ${words[0]} \([a-z]*\)  .*/\1/p" <<< "$help")
        mapfile -t COMPREPLY < <(compgen -W "$word" -- "$cur")
    elif [ "${#words[@]} ${words[*]:0:2}" = '3 user role' ]; then
        mapfile -t COMPREPLY < <(compgen -W "$roles" -- "$cur")
    fi
}

complete -F _kerbside kerbside
