/** Shells that command lines can be completed in. */
export const SHELLS = ['bash', 'zsh', 'fish'] as const;
export type Shell = (typeof SHELLS)[number];

/**
 * Each asks `mbuild __complete WORD…` for the words up to the cursor, and gets a candidate a line
 * with a tab and what it is, then a line that says what the shell is to add: `:files`,
 * `:directories` or `:nothing`.
 */
export const SCRIPTS: Readonly<Record<Shell, string>> = {
  // `=` and `:` end words of bash, so that what stands before the last of them is not part of a
  // reply.
  bash: `# Completes mbuild in bash: put this into ~/.local/share/bash-completion/completions/mbuild, or source it.
_mbuild() {
  local line="\${COMP_LINE:0:COMP_POINT}" cur prefix directive candidate value
  local -a words reply
  read -ra words <<<"$line"
  [[ $line == *[[:space:]] ]] && words+=('')
  cur="\${words[-1]}"
  prefix="\${cur%"\${cur##*[:=]}"}"
  mapfile -t reply < <("\${words[0]}" __complete "\${words[@]:1}" 2>/dev/null)
  COMPREPLY=()
  [ \${#reply[@]} -gt 0 ] || return
  directive="\${reply[-1]}"
  unset 'reply[-1]'
  for candidate in "\${reply[@]}"; do
    value="\${candidate%%$'\\t'*}"
    COMPREPLY+=("\${value#"$prefix"}")
  done
  case $directive in
    :files) compopt -o filenames 2>/dev/null; mapfile -t -O \${#COMPREPLY[@]} COMPREPLY < <(compgen -f -- "\${cur#"$prefix"}") ;;
    :directories) compopt -o filenames 2>/dev/null; mapfile -t -O \${#COMPREPLY[@]} COMPREPLY < <(compgen -d -- "\${cur#"$prefix"}") ;;
  esac
}
complete -F _mbuild mbuild
`,
  zsh: `#compdef mbuild
# Completes mbuild in zsh: put this as _mbuild into a directory of $fpath, or source it after compinit.
_mbuild() {
  local -a reply candidates
  local line directive
  reply=("\${(@f)$("\${words[1]}" __complete "\${(@)words[2,CURRENT]}" 2>/dev/null)}")
  (( $#reply )) || return 1
  directive=$reply[-1]
  for line in "\${(@)reply[1,-2]}"; do
    candidates+=("\${\${line%%$'\\t'*}//:/\\\\:}:\${line#*$'\\t'}")
  done
  (( $#candidates )) && _describe mbuild candidates
  case $directive in
    :files) _files ;;
    :directories) _files -/ ;;
  esac
}
if [ "$funcstack[1]" = _mbuild ]; then _mbuild "$@"; else compdef _mbuild mbuild; fi
`,
  fish: `# Completes mbuild in fish: put this into ~/.config/fish/completions/mbuild.fish.
function __mbuild_complete
    set -l words (commandline -opc)
    set -l current (commandline -ct)
    set -l reply ($words[1] __complete $words[2..-1] "$current" 2>/dev/null)
    test (count $reply) -gt 0; or return
    set -l directive $reply[-1]
    set -e reply[-1]
    for line in $reply
        echo $line
    end
    switch $directive
        case ':files'
            __fish_complete_path "$current"
        case ':directories'
            __fish_complete_directories "$current" ''
    end
end
complete -c mbuild -f -a '(__mbuild_complete)'
`,
};
