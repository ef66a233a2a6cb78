// Command sweep forgets the containers, sandboxes and leases of a containerd that is not running, and keeps its images:
// a node's image store outlives the node, what ran on the node does not.
//
// The buckets are those of containerd's metadata database, core/metadata/buckets.go: v1/<namespace>/<kind>. Snapshots of
// forgotten containers are then referenced by nothing, and containerd's garbage collector takes them when it starts.
package main

import (
	"errors"
	"fmt"
	"os"
	"time"

	bolt "go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: sweep META.DB")
		os.Exit(2)
	}
	if err := sweep(os.Args[1]); err != nil {
		fmt.Fprintf(os.Stderr, "sweep %s: %v\n", os.Args[1], err)
		os.Exit(1)
	}
}

func sweep(path string) error {
	db, err := bolt.Open(path, 0o600, &bolt.Options{Timeout: 5 * time.Second})
	if err != nil {
		return err
	}
	defer db.Close()
	return db.Update(func(tx *bolt.Tx) error {
		v1 := tx.Bucket([]byte("v1"))
		if v1 == nil {
			return nil
		}
		return v1.ForEachBucket(func(namespace []byte) error {
			for _, kind := range []string{"containers", "sandboxes", "leases"} {
				err := v1.Bucket(namespace).DeleteBucket([]byte(kind))
				if err != nil && !errors.Is(err, bolterrors.ErrBucketNotFound) {
					return fmt.Errorf("%s of %s: %w", kind, namespace, err)
				}
			}
			return nil
		})
	})
}
