"""The export against Kubernetes' own streaming code; needs Go and the module proxy."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from slipway.__main__ import main
from tests.support.export_double import Double, served

pytestmark = [
    pytest.mark.engines,
    pytest.mark.timeout(900),
    pytest.mark.skipif(shutil.which("go") is None, reason="no Go here"),
]
KUBERNETES = "v0.36.3"
MODULE = f"""\
module streaming
go 1.26.0
require (
	k8s.io/apimachinery {KUBERNETES}
	k8s.io/apiserver {KUBERNETES}
	k8s.io/cri-streaming {KUBERNETES}
)
"""
PROGRAM = """\
// Stands between the export and the double: exec is Kubernetes' own, everything else is the double's.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/util/remotecommand"
	"k8s.io/apiserver/pkg/util/proxy"
	streaming "k8s.io/cri-streaming/pkg/streaming/remotecommand"
	utilexec "k8s.io/utils/exec"
)

type container struct{ models string }

func (c container) ExecInContainer(ctx context.Context, _, _, _ string, command []string, _ io.Reader,
	out, errors_ io.WriteCloser, _ bool, _ <-chan streaming.TerminalSize, _ time.Duration) error {
	last := len(command) - 1
	command[last] = strings.Replace(command[last], "/models", c.models, 1)
	run := exec.CommandContext(ctx, command[0], command[1:]...)
	run.Stdout, run.Stderr = out, errors_
	err := run.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return utilexec.CodeExitError{Err: err, Code: exit.ExitCode()}
	}
	return err
}

func main() {
	inside := container{os.Args[1]}
	double, _ := url.Parse(os.Args[2])
	protocol := os.Args[3]
	rest := httputil.NewSingleHostReverseProxy(double)
	stream := func(w http.ResponseWriter, r *http.Request) {
		streams := &streaming.Options{Stdout: true, Stderr: true}
		streaming.ServeExec(w, r, inside, "pod", "", "engine", r.URL.Query()["command"], streams,
			time.Hour, time.Minute, remotecommand.SupportedStreamingProtocols)
	}
	kubelet := httptest.NewServer(http.HandlerFunc(stream))
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case !strings.HasSuffix(r.URL.Path, "/exec"):
			rest.ServeHTTP(w, r)
		case protocol == "v5.channel.k8s.io": // the API server translates it to the kubelet's SPDY
			location, _ := url.Parse(kubelet.URL + "?" + r.URL.RawQuery)
			options := proxy.Options{Stdout: true, Stderr: true}
			proxy.NewStreamTranslatorHandler(location, http.DefaultTransport, 0, options).ServeHTTP(w, r)
		default: // handed on to the kubelet as it is
			r.Header.Set("Sec-WebSocket-Protocol", protocol)
			stream(w, r)
		}
	}))
	fmt.Println(server.URL)
	select {}
}
"""
MODEL = os.urandom(1 << 20) * 8 + b"\x00\xff\r\n"


@pytest.fixture(scope="module")
def program(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program; a minute and more when nothing is cached, so that only those who ask for it wait."""
    if "engines" not in request.config.getoption("markexpr"):
        pytest.skip("asked for by -m engines")
    folder = tmp_path_factory.mktemp("streaming")
    (folder / "go.mod").write_text(MODULE)
    (folder / "main.go").write_text(PROGRAM)
    for command in (["go", "mod", "tidy"], ["go", "build", "-o", "streaming", "."]):
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    return folder / "streaming"


@contextmanager
def streaming(program: Path, protocol: str, models: Path) -> Iterator[Double]:
    """The double, its exec replaced by Kubernetes' own, that reads the files of a folder."""
    with served(Double({"model.gguf": MODEL})) as double:
        models.mkdir()
        (models / "model.gguf").write_bytes(MODEL)
        (models / "manifest.json").write_bytes(double.manifest)
        line = [program, models, double.server, protocol]
        with subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
            try:
                assert process.stdout is not None
                double.server = process.stdout.readline().strip()
                yield double
            finally:
                process.kill()


@pytest.mark.parametrize("protocol", ["v5.channel.k8s.io", "v4.channel.k8s.io"])
def test_kubernetes_own_streams_are_read(
    program: Path, protocol: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, models = tmp_path / "out", tmp_path / "models"
    with streaming(program, protocol, models) as double:
        where = ["--out", str(out), "--kubeconfig", double.kubeconfig(tmp_path)]
        line = ["export", "qwen", "--to", "files", *where]
        assert main(line) == 0
        assert (out / "model.gguf").read_bytes() == MODEL
        (out / "model.gguf").rename(out / "model.gguf.part")
        os.truncate(out / "model.gguf.part", 1_234_567)
        assert main(line) == 0
        assert (out / "model.gguf").read_bytes() == MODEL
        assert double.asked == []
        capsys.readouterr()
        (models / "model.gguf").unlink()
        (out / "model.gguf").unlink()
        assert main(line) == 1
    said = capsys.readouterr().err
    assert "tail: cannot open" in said
    assert "No such file or directory (exit code 1)" in said
