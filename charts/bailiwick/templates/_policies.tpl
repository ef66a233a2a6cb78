{{/* Whether the API server can pin pods, given the root context: true, or nothing. */}}
{{- define "bailiwick.canPin" -}}
{{- if or (.Capabilities.APIVersions.Has "admissionregistration.k8s.io/v1/MutatingAdmissionPolicy") (semverCompare ">=1.36.0-0" .Capabilities.KubeVersion.Version) }}true{{ end }}
{{- end }}
{{/*
One file of policies/, given its path and the root context: nothing where the values or the cluster leave it out. Only the
operator's namespace and service account are replaced.
*/}}
{{- define "bailiwick.policyFile" -}}
{{- $path := index . 0 }}
{{- $root := index . 1 }}
{{- $file := base $path }}
{{- $operator := printf "%s:bailiwick-operator" $root.Release.Namespace }}
{{- if and (eq $file "models-governed.yaml") (eq $root.Values.ungoverned "Allow") }}
{{- else if and (eq $file "pin.yaml") (not (and $root.Values.pin (include "bailiwick.canPin" $root))) }}
{{- else }}
{{- $root.Files.Get $path | replace "bailiwick-system" $root.Release.Namespace | replace $operator (printf "%s:%s" $root.Release.Namespace $root.Values.serviceAccount.name) }}
{{- end }}
{{- end }}
