#!/bin/sh
# A stand-in for Apptainer: the options of `apptainer exec` that Mimir uses, as its manual has them,
# and no others. The image, NAME.sif, is a text that names a folder, which Charliecloud starts.
fatal() { echo "FATAL:   $1" >&2; exit 255; }
[ "$1" = exec ] || fatal "no command $1"
shift
given=$(mktemp) binds=
env | sed -n 's/^APPTAINERENV_//p' > "$given"
while :; do
  case $1 in
    --nv | --cleanenv) ;;
    --home) echo "HOME=$2" >> "$given"; shift ;;
    --bind)
      from=${2%%:*} rest=${2#"$from"} to= how=
      [ -z "$rest" ] || { rest=${rest#:} to=${rest%%:*} how=${rest#"$to"}; }
      [ -e "$from" ] || fatal "mount source $from doesn't exist"
      case $how in
        "" | :rw) binds="$binds --bind=$from${to:+:$to}" ;;
        :ro) ;; # Charliecloud cannot
        *) fatal "no bind option $how" ;;
      esac
      shift
      ;;
    -*) fatal "unknown flag: $1" ;;
    *) break ;;
  esac
  shift
done
case $1 in *.sif) read -r folder < "$1" || fatal "could not open image $1" ;; *) fatal "no SIF: $1" ;; esac
shift
# The runtime stays as the parent, and passes signals on.
env -i PATH=/opt/venv/bin:/usr/bin:/bin USER=apptainer \
  /usr/bin/ch-run --env-no-expand --set-env="$given" $binds "$folder" -- "$@" &
child=$!
trap 'kill -TERM $child' TERM
while :; do
  wait $child
  code=$?
  kill -0 $child 2>/dev/null || exit $code
done
