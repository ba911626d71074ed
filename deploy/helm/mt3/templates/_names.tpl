{{/* Names: the release's, and the chart's where it does not say it already. */}}
{{- define "mt3.fullname" -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if contains $name .Release.Name -}}
{{- .Release.Name | trunc 52 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 52 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* Called with (dict "root" $ "component" "api"). Never changed: a Deployment's selector cannot be. */}}
{{- define "mt3.selector" -}}
app.kubernetes.io/name: {{ default .root.Chart.Name .root.Values.nameOverride }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end -}}

{{- define "mt3.labels" -}}
{{ include "mt3.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
{{- end -}}

{{- define "mt3.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "mt3.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{/* Called with root and the image of the component, whose empty fields are the chart's. */}}
{{- define "mt3.image" -}}
{{- $repository := default .root.Values.image.repository .image.repository -}}
{{- $digest := .image.digest -}}
{{- if and (not .image.repository) (not .image.tag) -}}
{{- $digest = default .root.Values.image.digest $digest -}}
{{- end -}}
{{- if $digest -}}
{{- printf "%s@%s" $repository $digest -}}
{{- else -}}
{{- printf "%s:%s" $repository (default (default .root.Chart.AppVersion .root.Values.image.tag) .image.tag) -}}
{{- end -}}
{{- end -}}

{{/* What must be there before anything is worth installing. */}}
{{- define "mt3.require" -}}
{{- if not .Values.database.existingSecret -}}
{{- fail "database.existingSecret is absent; expected the name of a Secret with the URL of Postgres under `url`" -}}
{{- end -}}
{{- if not .Values.storage.url -}}
{{- fail "storage.url is absent; expected s3://bucket/prefix, gs://... or az://..." -}}
{{- end -}}
{{- if and (not .Values.keys.existingSecret) (not .Values.keys.allowAnonymous) -}}
{{- fail "keys.existingSecret is absent; expected the name of a Secret with `keys.toml`, or keys.allowAnonymous=true" -}}
{{- end -}}
{{- end -}}

{{/* The names under which the API is called, separated by commas: a server without keys refuses others. */}}
{{- define "mt3.hosts" -}}
{{- $service := printf "%s.%s" (include "mt3.fullname" .) .Release.Namespace -}}
{{- $hosts := list $service (print $service ".svc") (print $service ".svc.cluster.local") -}}
{{- if .Values.ingress.enabled -}}
{{- $hosts = prepend $hosts .Values.ingress.host -}}
{{- end -}}
{{- join "," $hosts -}}
{{- end -}}

{{- define "mt3.environment" -}}
{{- $settings := merge (dict) .own .root.Values.settings -}}
{{- if .root.Values.keys.allowAnonymous -}}
{{- $hosts := compact (list $settings.allowed_hosts (include "mt3.hosts" .root)) -}}
{{- $_ := set $settings "allowed_hosts" (join "," $hosts) -}}
{{- end -}}
- name: MT3_DATABASE_URL
  valueFrom:
    secretKeyRef: {name: {{ .root.Values.database.existingSecret }}, key: {{ .root.Values.database.existingSecretKey }}}
- name: MT3_STORAGE_URL
  value: {{ .root.Values.storage.url | quote }}
{{- if .root.Values.webhooks.existingSecret }}
- name: MT3_WEBHOOK_SECRET
  valueFrom:
    secretKeyRef: {name: {{ .root.Values.webhooks.existingSecret }}, key: {{ .root.Values.webhooks.existingSecretKey }}}
{{- end }}
{{- if .root.Values.keys.existingSecret }}
- name: MT3_API_KEYS_FILE
  value: /etc/mt3/keys/keys.toml
{{- end }}
{{- if .root.Values.keys.allowAnonymous }}
- name: MT3_ALLOW_ANONYMOUS
  value: "true"
{{- end }}
- name: MT3_SHUTDOWN_GRACE_SECONDS
  value: {{ .graceSeconds | quote }}
- name: MT3_UPLOAD_DIR
  value: /data
{{- range $name, $value := $settings }}
- name: MT3_{{ $name | upper }}
  {{- /* YAML's numbers come as floats, and 1073741824 must not become 1.073741824e+09. */}}
  {{- if and (kindIs "float64" $value) (eq (floor $value) $value) }}
  value: {{ $value | int64 | quote }}
  {{- else }}
  value: {{ $value | toString | quote }}
  {{- end }}
{{- end }}
{{- end -}}

{{- define "mt3.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
runAsNonRoot: true
capabilities: {drop: [ALL]}
{{- end -}}

{{- define "mt3.podSecurity" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
fsGroup: 10001
fsGroupChangePolicy: OnRootMismatch
seccompProfile: {type: RuntimeDefault}
{{- end -}}

{{/* Called with root and component: over zones and machines, as far as that goes. */}}
{{- define "mt3.spread" -}}
{{- range $key := list "topology.kubernetes.io/zone" "kubernetes.io/hostname" }}
- topologyKey: {{ $key }}
  maxSkew: 1
  whenUnsatisfiable: ScheduleAnyway
  labelSelector:
    matchLabels: {{- include "mt3.selector" $ | nindent 6 }}
{{- end }}
{{- end -}}
