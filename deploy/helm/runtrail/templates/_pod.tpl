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
  image: {{ include "runtrail.image" . }}
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
  # None of the three asks about feed, backend or disk: those are metrics.
  startupProbe:
    httpGet:
      path: /readyz
      port: metrics
    periodSeconds: 2
    timeoutSeconds: 2
    failureThreshold: 60
  readinessProbe:
    httpGet:
      path: /readyz
      port: metrics
    periodSeconds: 10
    timeoutSeconds: 2
  {{- end }}
  # Answered by the main loop, or after 5 s in its place: so wait longer.
  livenessProbe:
    httpGet:
      path: /healthz
      port: {{ $sidecar | ternary "runtrail" "metrics" }}
    {{- if $sidecar }}
    initialDelaySeconds: 30
    {{- end }}
    periodSeconds: 10
    timeoutSeconds: 7
    failureThreshold: 6
  resources:
    {{- include "runtrail.resources" . | nindent 4 }}
  securityContext:
    runAsNonRoot: true
    runAsUser: 65532
    runAsGroup: 65532
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

{{- define "runtrail.resources" -}}
{{- $limit := printf "%dMi" (div (add (mul 4 (int (include "runtrail.memoryMaxMiB" .))) 2) 3) -}}
{{- $derived := dict "limits" (dict "memory" $limit) -}}
{{- if eq .Values.store.kind "emptyDir" -}}
{{- $space := printf "%sMi" (include "runtrail.storeLimitMiB" .) -}}
{{- $derived = merge $derived (dict "requests" (dict "ephemeral-storage" $space)) -}}
{{- end -}}
{{- toYaml (merge (deepCopy .Values.resources) $derived) -}}
{{- end -}}

{{- define "runtrail.env" -}}
- name: AKRIBES_URL
  value: {{ .Values.server.url | quote }}
{{- with .Values.server.projects }}
- name: AKRIBES_PROJECT_ID
  value: {{ join "," . | quote }}
{{- end }}
{{- if include "runtrail.tokenSecret" . }}
# Read again for each connection: a new token needs no restart.
- name: AKRIBES_TOKEN_FILE
  value: /run/secrets/runtrail/token/{{ .Values.server.token.key }}
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
      name: {{ . }}
      key: {{ $.Values.backend.headersKey }}
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
    claimName: {{ .Values.store.existingClaim }}
{{- end }}
{{- if .Values.config }}
- name: runtrail-config
  configMap:
    name: {{ include "runtrail.fullname" . }}
{{- end }}
{{- range $name, $secret := include "runtrail.secrets" . | fromYaml }}
- name: runtrail-{{ $name }}
  secret:
    secretName: {{ $secret }}
    {{- if eq $.Values.mode "sidecar" }}
    # For the user of the sidecar, whatever group the pod has.
    defaultMode: 0444
    {{- else }}
    defaultMode: 0440
    {{- end }}
{{- end }}
{{- end -}}

{{/* The Secrets to mount, by the directory they get. */}}
{{- define "runtrail.secrets" -}}
{{- $server := .Values.server.tls -}}
{{- $backend := .Values.backend.tls -}}
{{- $all := dict "token" (include "runtrail.tokenSecret" .) "server-ca" $server.caSecret "server-client" $server.clientCertificateSecret "backend-ca" $backend.caSecret "backend-client" $backend.clientCertificateSecret -}}
{{- range $name, $secret := $all -}}
{{- if $secret }}
{{ $name }}: {{ $secret }}
{{- end -}}
{{- end -}}
{{- end -}}
