// Command volumes provisions the local cluster's PersistentVolumes: one directory a claim, on the one node.
// It runs on the node itself, so a volume needs no helper pod and no image; all the controller's work
// (claims, retries, events, deletion) is the Kubernetes project's own provisioner library.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/klog/v2"
	"sigs.k8s.io/sig-storage-lib-external-provisioner/v13/controller"
)

const provisionerName = "slipway.dev/local-path"

// directories makes and removes a directory below root for each volume.
type directories struct{ root string }

func (d directories) path(volume string) string { return filepath.Join(d.root, filepath.Base(volume)) }

// Provision makes the volume's directory. Everyone may write to it: pods run as any user, and only
// those that mount the volume can see it, for root itself is closed to others.
func (d directories) Provision(
	_ context.Context, o controller.ProvisionOptions,
) (*v1.PersistentVolume, controller.ProvisioningState, error) {
	path := d.path(o.PVName)
	if err := os.MkdirAll(path, 0o777); err != nil {
		return nil, controller.ProvisioningFinished, fmt.Errorf("making the volume's directory: %w", err)
	}
	if err := os.Chmod(path, 0o777); err != nil { // MkdirAll's mode is cut by the umask
		return nil, controller.ProvisioningFinished, fmt.Errorf("opening the volume's directory: %w", err)
	}
	kind := v1.HostPathDirectory
	return &v1.PersistentVolume{
		ObjectMeta: metav1.ObjectMeta{Name: o.PVName},
		Spec: v1.PersistentVolumeSpec{
			PersistentVolumeReclaimPolicy: *o.StorageClass.ReclaimPolicy,
			AccessModes:                   o.PVC.Spec.AccessModes,
			VolumeMode:                    o.PVC.Spec.VolumeMode,
			Capacity:                      v1.ResourceList{v1.ResourceStorage: o.PVC.Spec.Resources.Requests[v1.ResourceStorage]},
			PersistentVolumeSource: v1.PersistentVolumeSource{
				HostPath: &v1.HostPathVolumeSource{Path: path, Type: &kind},
			},
			NodeAffinity: onNode(o.SelectedNodeName),
		},
	}, controller.ProvisioningFinished, nil
}

// Delete removes the volume's directory with all that is in it.
func (d directories) Delete(_ context.Context, volume *v1.PersistentVolume) error {
	if err := os.RemoveAll(d.path(volume.Name)); err != nil {
		return fmt.Errorf("removing the volume's directory: %w", err)
	}
	return nil
}

// onNode ties the volume to the node that holds its bytes; nil where the class binds at once.
func onNode(name string) *v1.VolumeNodeAffinity {
	if name == "" {
		return nil
	}
	return &v1.VolumeNodeAffinity{Required: &v1.NodeSelector{NodeSelectorTerms: []v1.NodeSelectorTerm{{
		MatchExpressions: []v1.NodeSelectorRequirement{{
			Key: v1.LabelHostname, Operator: v1.NodeSelectorOpIn, Values: []string{name},
		}},
	}}}}
}

func main() {
	klog.InitFlags(nil)
	kubeconfig := flag.String("kubeconfig", "", "kubeconfig of the cluster to serve")
	root := flag.String("root", "", "directory below which the volumes lie")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	config, err := clientcmd.BuildConfigFromFlags("", *kubeconfig)
	if err != nil {
		klog.Fatalf("reading the kubeconfig: %v", err)
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		klog.Fatalf("making a client: %v", err)
	}
	if err := os.MkdirAll(*root, 0o700); err != nil {
		klog.Fatalf("making the volumes' directory: %v", err)
	}
	// One process under a supervisor: no second one to elect against.
	controller.NewProvisionController(
		ctx, client, provisionerName, directories{root: *root}, controller.LeaderElection(false),
	).Run(ctx)
}
