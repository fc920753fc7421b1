# Hands what this machine has set for pip on to uv, which does not read it. Sourced by bootstrap.sh and lock.sh.
# shellcheck shell=bash

# pip_settings_for_uv PYTHON: exports uv's variables, each only where it is not set already.
pip_settings_for_uv() {
  local python=$1 settings value
  settings=$("$python" -m pip config list 2>&1) || {
    printf 'pip config list failed, so the package settings are unknown:\n%s\n' "$settings" >&2
    return 1
  }
  # A setting of several lines is printed with \n between them; uv wants spaces.
  setting() {
    sed -n "s/^\(:env:\.\|global\.\|install\.\)$1='\(.*\)'\$/\2/p" <<<"$settings" | head -n 1 |
      sed 's/\\n/ /g; s/^ *//'
  }
  value=$(setting index-url)
  [[ -z $value || -n ${UV_DEFAULT_INDEX:-}${UV_INDEX_URL:-} ]] || export UV_DEFAULT_INDEX=$value
  value=$(setting extra-index-url)
  [[ -z $value || -n ${UV_INDEX:-}${UV_EXTRA_INDEX_URL:-} ]] || export UV_INDEX=$value
  value=$(setting find-links)
  [[ -z $value || -n ${UV_FIND_LINKS:-} ]] || export UV_FIND_LINKS=${value// /,}
  value=$(setting trusted-host)
  [[ -z $value || -n ${UV_INSECURE_HOST:-} ]] || export UV_INSECURE_HOST=$value
  value=$(setting cert)
  [[ -z $value || -n ${SSL_CERT_FILE:-} ]] || export SSL_CERT_FILE=$value
  value=$(setting timeout)
  [[ -n $value ]] || value=$(setting default-timeout)
  [[ -z $value || -n ${UV_HTTP_TIMEOUT:-} ]] || export UV_HTTP_TIMEOUT=${value%.*}
  value=$(setting proxy)
  [[ -z $value || -n ${HTTPS_PROXY:-}${https_proxy:-}${ALL_PROXY:-} ]] ||
    export HTTPS_PROXY=$value HTTP_PROXY="${HTTP_PROXY:-$value}"
}
