{{/*
The container of runtrail, as it stands in both modes. In a chart that has this one
as a dependency, under initContainers of the pod:

  {{- include "runtrail.sidecar.container" .Subcharts.runtrail | nindent 8 }}

and under volumes:

  {{- include "runtrail.sidecar.volumes" .Subcharts.runtrail | nindent 8 }}
*/}}
{{- define "runtrail.sidecar.container" -}}
{{- include "runtrail.validate" . -}}
{{- if ne .Values.mode "sidecar" -}}
{{- fail "a sidecar is included, but mode is not sidecar: set mode of the runtrail chart" -}}
{{- end -}}
{{- include "runtrail.container" . -}}
{{- end -}}

{{- define "runtrail.sidecar.volumes" -}}
{{- include "runtrail.volumes" . | trim -}}
{{- end -}}

{{- define "runtrail.container" -}}
{{- $sidecar := eq .Values.mode "sidecar" -}}
- name: runtrail
  image: {{ include "runtrail.image" . | quote }}
  imagePullPolicy: {{ .Values.image.pullPolicy }}
  {{- if $sidecar }}
  # This makes an init container a sidecar: it starts before the server, runs beside
  # it, and ends after it.
  restartPolicy: Always
  {{- end }}
  args: [run]
  env:
    {{- include "runtrail.env" . | nindent 4 }}
  ports:
    - name: {{ $sidecar | ternary "runtrail" "metrics" }}
      containerPort: 9464
      protocol: TCP
  {{- if $sidecar }}
  # No startupProbe, and no readinessProbe: neither may keep the server from starting,
  # or take it out of its Service.
  {{- else }}
  # None of the three asks about feed, backend or disk: those are metrics. What a
  # crash left is read before the first answer, so a large journal is given more time.
  startupProbe:
    httpGet:
      path: /readyz
      port: metrics
    periodSeconds: 2
    timeoutSeconds: 2
    failureThreshold: {{ max 60 (div (int .Values.store.journalMiB) 32) }}
  readinessProbe:
    httpGet:
      path: /readyz
      port: metrics
    periodSeconds: 10
    timeoutSeconds: 2
  {{- end }}
  # Answered by the main loop, or after 5 s in its place: so wait longer.
  {{- if $sidecar }} And it
  # answers after what a crash left is read.
  {{- end }}
  livenessProbe:
    httpGet:
      path: /healthz
      port: {{ $sidecar | ternary "runtrail" "metrics" }}
    {{- if $sidecar }}
    initialDelaySeconds: {{ max 30 (div (int .Values.store.journalMiB) 16) }}
    {{- end }}
    periodSeconds: 10
    timeoutSeconds: 7
    failureThreshold: 6
  resources:
    {{- include "runtrail.resources" . | nindent 4 }}
  securityContext:
    {{- include "runtrail.runAs" . | nindent 4 }}
    allowPrivilegeEscalation: false
    readOnlyRootFilesystem: true
    capabilities:
      drop: [ALL]
    seccompProfile:
      type: RuntimeDefault
  {{- with include "runtrail.volumeMounts" . | trim }}
  volumeMounts:
    {{- . | nindent 4 }}
  {{- end }}
{{- end -}}

{{/* What the cluster is not left to choose. */}}
{{- define "runtrail.runAs" -}}
{{- $runAs := default dict .Values.runAs -}}
runAsNonRoot: true
{{- with $runAs.user }}
runAsUser: {{ int64 . }}
{{- end }}
{{- with $runAs.group }}
runAsGroup: {{ int64 . }}
{{- end }}
{{- end -}}

{{- define "runtrail.resources" -}}
{{- $limit := div (add (mul 4 (int (include "runtrail.memoryMaxMiB" .))) 2) 3 -}}
{{- $derived := dict "limits" (dict "memory" (printf "%dMi" $limit)) "requests" (dict "memory" (printf "%dMi" (div $limit 4))) -}}
{{- if eq .Values.store.kind "emptyDir" -}}
{{- $space := printf "%sMi" (include "runtrail.storeLimitMiB" .) -}}
{{- $derived = merge $derived (dict "requests" (dict "ephemeral-storage" $space)) -}}
{{- end -}}
{{- toYaml (merge (deepCopy (default dict .Values.resources)) $derived) -}}
{{- end -}}

{{- define "runtrail.env" -}}
- name: AKRIBES_URL
  value: {{ .Values.server.url | quote }}
{{- with include "runtrail.projects" . }}
- name: AKRIBES_PROJECT_ID
  value: {{ . | quote }}
{{- end }}
{{- if include "runtrail.tokenSecret" . }}
# Read again for each connection: a new token needs no restart.
- name: AKRIBES_TOKEN_FILE
  value: {{ printf "/run/secrets/runtrail/token/%s" .Values.server.token.key | quote }}
{{- end }}
{{- with .Values.server.tls.caSecret }}
- name: RUNTRAIL_SOURCE_CA_FILE
  value: /run/secrets/runtrail/server-ca/ca.crt
{{- end }}
{{- with .Values.server.tls.clientCertificateSecret }}
- name: RUNTRAIL_SOURCE_CLIENT_CERTIFICATE_FILE
  value: /run/secrets/runtrail/server-client/tls.crt
- name: RUNTRAIL_SOURCE_CLIENT_KEY_FILE
  value: /run/secrets/runtrail/server-client/tls.key
{{- end }}
{{- with .Values.backend.endpoint }}
- name: OTEL_EXPORTER_OTLP_ENDPOINT
  value: {{ . | quote }}
- name: OTEL_EXPORTER_OTLP_PROTOCOL
  value: {{ $.Values.backend.protocol | quote }}
{{- end }}
{{- with .Values.backend.headersSecret }}
- name: OTEL_EXPORTER_OTLP_HEADERS
  valueFrom:
    secretKeyRef:
      name: {{ . | quote }}
      key: {{ $.Values.backend.headersKey | quote }}
{{- end }}
{{- with .Values.backend.tls.caSecret }}
- name: OTEL_EXPORTER_OTLP_CERTIFICATE
  value: /run/secrets/runtrail/backend-ca/ca.crt
{{- end }}
{{- with .Values.backend.tls.clientCertificateSecret }}
- name: OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE
  value: /run/secrets/runtrail/backend-client/tls.crt
- name: OTEL_EXPORTER_OTLP_CLIENT_KEY
  value: /run/secrets/runtrail/backend-client/tls.key
{{- end }}
{{- if ne .Values.store.kind "memory" }}
- name: RUNTRAIL_STORE_DIR
  value: /var/lib/runtrail/store
- name: RUNTRAIL_STORE_JOURNAL_BYTES_MAX
  value: {{ printf "%dMiB" (int .Values.store.journalMiB) }}
- name: RUNTRAIL_STORE_OUTBOX_BYTES_MAX
  value: {{ printf "%dMiB" (int .Values.store.outboxMiB) }}
- name: RUNTRAIL_STORE_QUARANTINE_BYTES_MAX
  value: {{ printf "%dMiB" (int .Values.store.quarantineMiB) }}
{{- end }}
- name: RUNTRAIL_MEMORY_MAX
  value: {{ include "runtrail.memoryMaxMiB" . }}MiB
- name: RUNTRAIL_DRAIN_MAX
  value: {{ printf "%ds" (int .Values.drainMaxSeconds) }}
{{- with .Values.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* Whole directories: a file mounted by subPath would never change. */}}
{{- define "runtrail.volumeMounts" -}}
{{- if ne .Values.store.kind "memory" }}
- name: runtrail-store
  mountPath: /var/lib/runtrail
{{- end }}
{{- if .Values.config }}
- name: runtrail-config
  mountPath: /etc/runtrail
  readOnly: true
{{- end }}
{{- range $name, $secret := include "runtrail.secrets" . | fromYaml }}
- name: runtrail-{{ $name }}
  mountPath: /run/secrets/runtrail/{{ $name }}
  readOnly: true
{{- end }}
{{- with .Values.extraVolumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "runtrail.volumes" -}}
{{- if eq .Values.store.kind "emptyDir" }}
- name: runtrail-store
  emptyDir:
    # More than the store ever takes, so that the pod is never evicted for it.
    sizeLimit: {{ include "runtrail.storeLimitMiB" . }}Mi
{{- else if eq .Values.store.kind "existingClaim" }}
- name: runtrail-store
  persistentVolumeClaim:
    claimName: {{ .Values.store.existingClaim | quote }}
{{- end }}
{{- if .Values.config }}
- name: runtrail-config
  configMap:
    name: {{ include "runtrail.fullname" . | quote }}
{{- end }}
{{- range $name, $secret := include "runtrail.secrets" . | fromYaml }}
- name: runtrail-{{ $name }}
  secret:
    secretName: {{ $secret | quote }}
    {{- if or (eq $.Values.mode "sidecar") (not (default dict $.Values.runAs).fsGroup) }}
    # For the user of the container, whatever group the pod has.
    defaultMode: 0444
    {{- else }}
    defaultMode: 0440
    {{- end }}
{{- end }}
{{- with .Values.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* The Secrets to mount, by the directory they get. */}}
{{- define "runtrail.secrets" -}}
{{- $server := .Values.server.tls -}}
{{- $backend := .Values.backend.tls -}}
{{- $all := dict "token" (include "runtrail.tokenSecret" .) "server-ca" $server.caSecret "server-client" $server.clientCertificateSecret "backend-ca" $backend.caSecret "backend-client" $backend.clientCertificateSecret -}}
{{- range $name, $secret := $all -}}
{{- if $secret }}
{{ $name }}: {{ $secret | quote }}
{{- end -}}
{{- end -}}
{{- end -}}
