// Command registry is the distribution project's registry with only what the tests use: blobs in a folder, htpasswd.
// Without the drivers for storage of clouds it takes a quarter less to build: 98 s of one core.
package main

import (
	"os"

	"github.com/distribution/distribution/v3/registry"

	// A driver registers itself on import; the configuration is in tests/support/registry_server.py.
	_ "github.com/distribution/distribution/v3/registry/auth/htpasswd"
	_ "github.com/distribution/distribution/v3/registry/storage/driver/filesystem"
)

func main() {
	if registry.RootCmd.Execute() != nil {
		os.Exit(1)
	}
}
