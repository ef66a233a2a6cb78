// Command helmrelease reads HelmReleases of Flux, a stream of JSON objects on standard input, by the types of
// helm-controller, whose CustomResourceDefinition no module holds: a field that they lack is an error.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	helm "github.com/fluxcd/helm-controller/api/v2"
)

func main() {
	objects := json.NewDecoder(os.Stdin)
	objects.DisallowUnknownFields()
	for {
		var release helm.HelmRelease
		if err := objects.Decode(&release); errors.Is(err, io.EOF) {
			return
		} else if err != nil {
			fmt.Fprintf(os.Stderr, "helmrelease: %v\n", err)
			os.Exit(1)
		}
	}
}
