{{- define "operator.fullname" -}}
{{- if contains .Chart.Name .Release.Name -}}
{{- .Release.Name | trunc 63 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name .Chart.Name | trunc 63 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "operator.selectorLabels" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "operator.labels" -}}
{{ include "operator.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end -}}

{{- define "operator.serviceAccountName" -}}
{{- .Values.serviceAccount.name | default (include "operator.fullname" .) -}}
{{- end -}}

{{/* What the operator may do in the namespaces it works in. */}}
{{- define "operator.rules" -}}
- apiGroups: [consul-nginx.dev]
  resources: [loadbalancers, servicemappings]
  verbs: [list, watch]
- apiGroups: [consul-nginx.dev]
  resources: [loadbalancers/status, servicemappings/status]
  verbs: [patch]
# The bundle; list and watch are granted on to each nginx pod's agent, for its own one by name.
- apiGroups: [""]
  resources: [configmaps]
  verbs: [get, list, watch, create, update]
# get: to refuse to overwrite what is not ours.
- apiGroups: [""]
  resources: [services, serviceaccounts]
  verbs: [get, create, patch]
- apiGroups: [apps]
  resources: [deployments]
  verbs: [get, create, patch]
- apiGroups: [policy]
  resources: [poddisruptionbudgets]
  verbs: [get, create, patch]
- apiGroups: [rbac.authorization.k8s.io]
  resources: [roles, rolebindings]
  verbs: [get, create, patch]
# Which nginx pods there are, to ask them what they serve.
- apiGroups: [""]
  resources: [pods]
  verbs: [list]
{{- end -}}
