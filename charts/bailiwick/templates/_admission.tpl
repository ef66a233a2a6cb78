{{- define "bailiwick.admission.selector" -}}
app.kubernetes.io/name: bailiwick
app.kubernetes.io/component: admission
{{- end }}

{{- define "bailiwick.admission.labels" -}}
{{ include "bailiwick.admission.selector" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/part-of: bailiwick
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}
