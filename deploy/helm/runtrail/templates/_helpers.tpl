{{- define "runtrail.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{/* 52 characters: the controller of a StatefulSet adds a hash to a label. */}}
{{- define "runtrail.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 52 | trimSuffix "-" -}}
{{- else if contains (include "runtrail.name" .) .Release.Name -}}
{{- .Release.Name | trunc 52 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name (include "runtrail.name" .) | trunc 52 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "runtrail.selectorLabels" -}}
app.kubernetes.io/name: {{ include "runtrail.name" . | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end -}}

{{/* The labels of an object, given the root and those that only this object has. No
other label takes the place of the chart's own: objects find each other by them. */}}
{{- define "runtrail.labels" -}}
{{- $root := index . 0 -}}
{{- $own := include "runtrail.selectorLabels" $root | fromYaml -}}
{{- $_ := set $own "app.kubernetes.io/version" $root.Chart.AppVersion -}}
{{- $_ := set $own "app.kubernetes.io/managed-by" $root.Release.Service -}}
{{- $_ := set $own "helm.sh/chart" (printf "%s-%s" $root.Chart.Name $root.Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-") -}}
{{- toYaml (mergeOverwrite (deepCopy (default dict $root.Values.commonLabels)) (deepCopy (default dict (index . 1))) $own) -}}
{{- end -}}

{{/* The pod's: those that it is selected by stay as they are. */}}
{{- define "runtrail.podLabels" -}}
{{- toYaml (mergeOverwrite (deepCopy (default dict .Values.podLabels)) (include "runtrail.selectorLabels" . | fromYaml)) -}}
{{- end -}}

{{- define "runtrail.podAnnotations" -}}
{{- $own := dict -}}
{{- with .Values.config -}}
{{- /* Its file is read at start, so a change of it needs a new pod. */ -}}
{{- $_ := set $own "runtrail/config" (toYaml . | sha256sum | trunc 16) -}}
{{- end -}}
{{- if .Values.monitoring.annotations -}}
{{- $own = merge $own (dict "prometheus.io/scrape" "true" "prometheus.io/port" "9464" "prometheus.io/path" "/metrics") -}}
{{- end -}}
{{- with mergeOverwrite (deepCopy (default dict .Values.podAnnotations)) $own -}}
{{- toYaml . -}}
{{- end -}}
{{- end -}}

{{- define "runtrail.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "runtrail.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- define "runtrail.image" -}}
{{- if .Values.image.digest -}}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest -}}
{{- else -}}
{{- printf "%s:%s" .Values.image.repository (default .Chart.AppVersion .Values.image.tag) -}}
{{- end -}}
{{- end -}}

{{- define "runtrail.tokenSecret" -}}
{{- if .Values.server.token.existingSecret -}}
{{- .Values.server.token.existingSecret -}}
{{- else if .Values.server.token.value -}}
{{- include "runtrail.fullname" . }}-token
{{- end -}}
{{- end -}}

{{/* Ids as digits: a number of a values file is one with a fraction to a template, and
would be written as 1e+06. */}}
{{- define "runtrail.projects" -}}
{{- $ids := list -}}
{{- range .Values.server.projects -}}
{{- $ids = append $ids (kindIs "string" . | ternary . (int64 . | toString)) -}}
{{- end -}}
{{- join "," $ids -}}
{{- end -}}

{{/* Each feed has room of its own. What is usual has it for two, and for one where the
outbox is in memory as well. */}}
{{- define "runtrail.memoryMaxMiB" -}}
{{- $usual := eq .Values.store.kind "memory" | ternary 1 2 -}}
{{- $further := max 0 (sub (len (default list .Values.server.projects)) $usual) -}}
{{- add (int .Values.memoryMaxMiB) (mul 17 $further) -}}
{{- end -}}

{{/* What the store takes at most: two checkpoints while one is written. */}}
{{- define "runtrail.storeMiB" -}}
{{- $store := .Values.store -}}
{{- add (int $store.journalMiB) (int $store.outboxMiB) (int $store.quarantineMiB) (mul 2 (int $store.checkpointMiB)) -}}
{{- end -}}

{{/* With an eighth for block sizes and surprises: no pod is evicted for its store. */}}
{{- define "runtrail.storeLimitMiB" -}}
{{- $least := int (include "runtrail.storeMiB" .) -}}
{{- add $least (div $least 8) 64 -}}
{{- end -}}

{{/* A volume also holds its file system. */}}
{{- define "runtrail.storeSize" -}}
{{- default (printf "%dMi" (mul 2 (int (include "runtrail.storeMiB" .)))) .Values.store.size -}}
{{- end -}}

{{/* A quantity of Kubernetes, such as 1.5Gi or 100m, as a number. */}}
{{- define "runtrail.amount" -}}
{{- $quantity := toString . -}}
{{- $units := dict "m" 1e-3 "" 1 "k" 1e3 "M" 1e6 "G" 1e9 "T" 1e12 "P" 1e15 "E" 1e18 "Ki" 1024 "Mi" 1048576 "Gi" 1073741824 "Ti" 1099511627776 "Pi" 1125899906842624 "Ei" 1152921504606846976 -}}
{{- $unit := regexFind "[a-zA-Z]*$" $quantity -}}
{{- if not (hasKey $units $unit) -}}
{{- fail (printf "%s is no size: write it like 512Mi or 2Gi" $quantity) -}}
{{- end -}}
{{- mulf (trimSuffix $unit $quantity | float64) (get $units $unit | float64) | printf "%f" -}}
{{- end -}}

{{- define "runtrail.mib" -}}
{{- divf (include "runtrail.amount" . | float64) 1048576 | int64 -}}
{{- end -}}

{{/* The port of a URL. */}}
{{- define "runtrail.port" -}}
{{- $host := (urlParse .).host -}}
{{- if regexMatch ":[0-9]+$" $host -}}
{{- regexFind "[0-9]+$" $host -}}
{{- else if hasPrefix "https:" . -}}443
{{- else -}}80
{{- end -}}
{{- end -}}

{{/* What no schema can say. Each sentence tells what to do. */}}
{{- define "runtrail.validate" -}}
{{- $values := .Values -}}
{{- if not $values.server.url -}}
{{- fail "server.url is not set: say where the workflow server is, such as http://akribes.akribes.svc:3001" -}}
{{- end -}}
{{- $name := include "runtrail.fullname" . -}}
{{- if and (eq $values.mode "standalone") (not (regexMatch "^[a-z]([-a-z0-9]*[a-z0-9])?$" $name)) -}}
{{- fail (printf "%s is no name for a Service, which has letters, digits and hyphens and begins with a letter: set fullnameOverride" $name) -}}
{{- end -}}
{{- if and $values.server.token.existingSecret $values.server.token.value -}}
{{- fail "server.token.existingSecret and server.token.value are both set: one of them is enough" -}}
{{- end -}}
{{- if and (eq $values.store.kind "existingClaim") (not $values.store.existingClaim) -}}
{{- fail "store.kind is existingClaim, but store.existingClaim names none" -}}
{{- end -}}
{{- if and (eq $values.mode "sidecar") (eq $values.store.kind "claim") -}}
{{- fail "store.kind is claim, which a sidecar cannot have: set it to emptyDir, or to existingClaim" -}}
{{- end -}}
{{- $room := int (include "runtrail.storeLimitMiB" .) -}}
{{- if and (eq $values.store.kind "claim") (lt (int (include "runtrail.mib" (include "runtrail.storeSize" .))) $room) -}}
{{- fail (printf "store.size is %s, but the bounds of the store need %dMi: make it larger, or lower store.outboxMiB" $values.store.size $room) -}}
{{- end -}}
{{- $memory := dig "limits" "memory" "" (default dict $values.resources) -}}
{{- $most := int (include "runtrail.memoryMaxMiB" .) -}}
{{- $least := div (add (mul 5 $most) 3) 4 -}}
{{- if and $memory (lt (int (include "runtrail.mib" $memory)) (int $least)) -}}
{{- fail (printf "resources.limits.memory is %s, but memoryMaxMiB, which comes to %d with these projects, needs %dMi: raise one, or lower the other" (toString $memory) $most $least) -}}
{{- end -}}
{{- $resources := include "runtrail.resources" . | fromYaml -}}
{{- range $resource, $request := $resources.requests -}}
{{- if hasKey $resources.limits $resource -}}
{{- $limit := get $resources.limits $resource -}}
{{- if gt (include "runtrail.amount" $request | float64) (include "runtrail.amount" $limit | float64) -}}
{{- fail (printf "resources.requests.%s is %s, which is more than its limit of %s: lower the one, or raise the other (memoryMaxMiB, if you did not set limits.memory)" $resource (toString $request) (toString $limit)) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if and $values.monitoring.annotations $values.monitoring.monitor.enabled -}}
{{- fail "monitoring.annotations and monitoring.monitor.enabled are both set: everything would be scraped twice" -}}
{{- end -}}
{{- $own := dict "source.url" "server.url" "source.projects" "server.projects" "source.token" "server.token" "source.token_file" "server.token" "source.ca_file" "server.tls.caSecret" "source.client_certificate_file" "server.tls.clientCertificateSecret" "source.client_key_file" "server.tls.clientCertificateSecret" "export.endpoint" "backend.endpoint" "export.protocol" "backend.protocol" "export.headers" "backend.headersSecret" "export.ca_file" "backend.tls.caSecret" "export.client_certificate_file" "backend.tls.clientCertificateSecret" "export.client_key_file" "backend.tls.clientCertificateSecret" "store.dir" "store.kind" "store.journal_bytes_max" "store.journalMiB" "store.outbox_bytes_max" "store.outboxMiB" "store.quarantine_bytes_max" "store.quarantineMiB" "memory_max" "memoryMaxMiB" "drain_max" "drainMaxSeconds" -}}
{{- range $key, $value := $own -}}
{{- $path := splitList "." $key -}}
{{- $there := default dict $values.config -}}
{{- range $path -}}
{{- $there = ternary (get (default dict $there) .) "" (kindIs "map" $there) -}}
{{- end -}}
{{- if $there -}}
{{- fail (printf "config.%s is set, which has a value of its own: set %s instead" $key $value) -}}
{{- end -}}
{{- end -}}
{{- with (get (default dict $values.config) "listen") -}}
{{- if hasKey . "local_token" -}}
{{- fail "config.listen.local_token is set, and all who may read ConfigMaps would see it: mount a Secret (extraVolumes, extraVolumeMounts), and name its file in config.listen.local_token_file" -}}
{{- end -}}
{{- if hasKey . "metrics" -}}
{{- fail "config.listen.metrics is set, but probes and Service look for port 9464: leave it as it is" -}}
{{- end -}}
{{- end -}}
{{- end -}}
