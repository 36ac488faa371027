{{/* Short enough for what is put behind it: names of Services have at most 63 characters. */}}
{{- define "operator.fullname" -}}
{{- if contains .Chart.Name .Release.Name -}}
{{- .Release.Name | trunc 52 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name .Chart.Name | trunc 52 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "operator.selectorLabels" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{/* Not those of the operator, for the Service must not find the pod of `helm test`. */}}
{{- define "operator.checkLabels" -}}
app.kubernetes.io/name: {{ .Chart.Name }}-check
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

{{/* Environment by which the operator, and its check, find Consul. */}}
{{- define "operator.consulEnv" -}}
- name: CONSUL_NGINX_CONSUL_ADDRESS
  value: {{ .Values.consul.address | quote }}
{{- with .Values.consul.datacenter }}
- name: CONSUL_NGINX_CONSUL_DATACENTER
  value: {{ . | quote }}
{{- end }}
{{- with .Values.consul.tokenSecret }}
{{- if .name }}
- name: CONSUL_NGINX_CONSUL_TOKEN
  valueFrom:
    secretKeyRef:
      name: {{ .name | quote }}
      key: {{ .key | quote }}
{{- end }}
{{- end }}
{{- with .Values.consul.tls.caSecret }}
{{- if .name }}
- name: CONSUL_NGINX_CONSUL_CA_FILE
  value: /etc/consul-nginx/consul-ca/{{ .key }}
{{- end }}
{{- end }}
{{- end -}}

{{- define "operator.volumeMounts" -}}
- name: tmp
  mountPath: /tmp
- name: policy
  mountPath: /etc/consul-nginx/policy
  readOnly: true
{{- if .Values.consul.tls.caSecret.name }}
- name: consul-ca
  mountPath: /etc/consul-nginx/consul-ca
  readOnly: true
{{- end }}
{{- end -}}

{{- define "operator.volumes" -}}
- name: tmp
  emptyDir:
    medium: Memory
    sizeLimit: 16Mi
- name: policy
  configMap:
    name: {{ include "operator.fullname" . }}-policy
{{- with .Values.consul.tls.caSecret }}
{{- if .name }}
- name: consul-ca
  secret:
    secretName: {{ .name | quote }}
    # A key that is not in the Secret is told by the kubelet.
    items:
      - key: {{ .key | quote }}
        path: {{ .key | quote }}
{{- end }}
{{- end }}
{{- end -}}

{{/* Pod Security `restricted`. */}}
{{- define "operator.podSecurityContext" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{- define "operator.securityContext" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
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
# get: to refuse to overwrite what is not ours. list, watch: to put right at once what somebody
# changed by hand.
- apiGroups: [""]
  resources: [serviceaccounts]
  verbs: [get, list, watch, create, patch]
- apiGroups: [rbac.authorization.k8s.io]
  resources: [roles, rolebindings]
  verbs: [get, list, watch, create, patch]
# delete: an edit of a LoadBalancer can make one of these superfluous.
- apiGroups: [""]
  resources: [services]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [apps]
  resources: [deployments, daemonsets]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [policy]
  resources: [poddisruptionbudgets]
  verbs: [get, list, watch, create, patch, delete]
# Which nginx pods there are, to ask them what they serve
{{- if .Values.registration.enabled }}; and all Pods, for their annotations{{ end }}.
- apiGroups: [""]
  resources: [pods]
  verbs: [{{ if .Values.registration.enabled }}list, watch{{ else }}list{{ end }}]
# What happened, told at the objects; patch counts one that happens again.
- apiGroups: ["", events.k8s.io]
  resources: [events]
  verbs: [create, patch]
# Why a DaemonSet's pods can't be created.
- apiGroups: [""]
  resources: [events]
  verbs: [list]
{{- end -}}
