{{/* Name of everything: "slipway" for a release of that name, RELEASE-slipway for others. */}}
{{- define "slipway.name" -}}
{{- if contains "slipway" .Release.Name }}{{ .Release.Name | trunc 40 | trimSuffix "-" }}{{ else }}{{ printf "%s-slipway" (.Release.Name | trunc 32 | trimSuffix "-") }}{{ end -}}
{{- end }}

{{- define "slipway.serviceAccount" -}}
{{ .Values.serviceAccount.name | default (include "slipway.name" .) }}
{{- end }}

{{/* Labels of the operator's pods that never change: selectors rest on them. */}}
{{- define "slipway.selector" -}}
app.kubernetes.io/name: slipway
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: operator
{{- end }}

{{/* No managed-by=slipway: that label is for the operator's children, by which it finds them. */}}
{{- define "slipway.labels" -}}
{{ include "slipway.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{/* Reference of an image: list of root and role. */}}
{{- define "slipway.image" -}}
{{- $root := index . 0 -}}
{{- $image := index $root.Values.images (index . 1) -}}
{{- if $image.digest }}{{ $image.repository }}@{{ $image.digest }}{{ else }}{{ $image.repository }}:{{ $image.tag | default $root.Chart.AppVersion }}{{ end -}}
{{- end }}

{{/* Environment of Jobs that reach outside, as JSON. Both spellings: curl reads the small one, Go the large one. */}}
{{- define "slipway.jobEnv" -}}
{{- $env := dict -}}
{{- with .Values.proxy -}}
{{- if .httpProxy }}{{ $_ := set $env "HTTP_PROXY" .httpProxy }}{{ $_ := set $env "http_proxy" .httpProxy }}{{ end -}}
{{- if .httpsProxy }}{{ $_ := set $env "HTTPS_PROXY" .httpsProxy }}{{ $_ := set $env "https_proxy" .httpsProxy }}{{ end -}}
{{- if or .httpProxy .httpsProxy -}}
{{- $inside := printf "localhost,127.0.0.1,.svc,.%s" $.Values.clusterDomain -}}
{{- $none := ternary (printf "%s,%s" .noProxy $inside) $inside (ne .noProxy "") -}}
{{- $_ := set $env "NO_PROXY" $none }}{{ $_ := set $env "no_proxy" $none -}}
{{- end -}}
{{- end -}}
{{ $env | toJson }}
{{- end }}

{{/* Engine images as ENGINE/ACCELERATOR to a reference, in JSON. */}}
{{- define "slipway.engineImages" -}}
{{- $flat := dict -}}
{{- range $engine, $byAccelerator := .Values.engineImages -}}
{{- range $accelerator, $image := $byAccelerator -}}
{{- $_ := set $flat (printf "%s/%s" $engine $accelerator) $image -}}
{{- end -}}
{{- end -}}
{{- $flat | toJson -}}
{{- end -}}

{{/* Whether nodes mount images as volumes: what the values say, else whether this Kubernetes does by default. */}}
{{- define "slipway.imageVolumes" -}}
{{- if eq (.Values.store.imageVolumes | toString) "auto" -}}
{{- semverCompare ">=1.35-0" .Capabilities.KubeVersion.Version -}}
{{- else -}}
{{- .Values.store.imageVolumes -}}
{{- end -}}
{{- end -}}
