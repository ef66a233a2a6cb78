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

{{- define "bailiwick.admission.webhook" -}}
failurePolicy: Fail
timeoutSeconds: 3
sideEffects: None
matchPolicy: Equivalent
admissionReviewVersions: [v1]
clientConfig:
  service:
    name: bailiwick-admission
    namespace: {{ .Release.Namespace }}
    path: /validate
    port: 443
{{- end }}

{{- define "bailiwick.admission.exempt" -}}
matchExpressions:
  - key: kubernetes.io/metadata.name
    operator: NotIn
    values: [kube-system, kube-public, kube-node-lease, {{ .Release.Namespace }}]
{{- end }}
