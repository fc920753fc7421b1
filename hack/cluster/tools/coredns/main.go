// Command coredns is CoreDNS with only the plugins that the local cluster's DNS uses.
// It is built beside the Kubernetes components, so that both share one compiled client-go.
package main

import (
	"github.com/coredns/coredns/coremain"

	// A plugin registers itself on import; the Corefile is in hack/cluster/addons.py.
	_ "github.com/coredns/coredns/plugin/cache"
	_ "github.com/coredns/coredns/plugin/errors"
	_ "github.com/coredns/coredns/plugin/forward"
	_ "github.com/coredns/coredns/plugin/health"
	_ "github.com/coredns/coredns/plugin/kubernetes"
	_ "github.com/coredns/coredns/plugin/log"
	_ "github.com/coredns/coredns/plugin/loop"
	_ "github.com/coredns/coredns/plugin/ready"
	_ "github.com/coredns/coredns/plugin/reload"
)

func main() { coremain.Run() }
