{{/* Names are fixed: policies and roles are cluster-wide, and a second Bailiwick in one cluster is refused by Helm. */}}

{{- define "bailiwick.selector" -}}
app.kubernetes.io/name: bailiwick
app.kubernetes.io/component: operator
{{- end }}

{{- define "bailiwick.labels" -}}
{{ include "bailiwick.selector" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/part-of: bailiwick
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{/*
Annotations of our own custom resources. Helm looks up kinds before it creates anything, so on the first installation,
when their CRDs do not exist yet, they come as hooks after everything else. Hooks do not belong to a release; the two
meta.helm.sh annotations let the next upgrade take them over as ordinary objects.
*/}}
{{- define "bailiwick.customResource" -}}
annotations:
  helm.sh/resource-policy: keep
  meta.helm.sh/release-name: {{ .Release.Name }}
  meta.helm.sh/release-namespace: {{ .Release.Namespace }}
  {{- if not (.Capabilities.APIVersions.Has "bailiwick.dev/v1alpha1/Jurisdiction") }}
  helm.sh/hook: post-install,post-upgrade
  {{- end }}
labels:
  app.kubernetes.io/part-of: bailiwick
  app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}
