{{/* What everything of a release is called. It begins every name, so it leaves room for what follows it. */}}
{{- define "operator.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 42 | trimSuffix "-" -}}
{{- else if contains .Chart.Name .Release.Name -}}
{{- .Release.Name | trunc 42 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name .Chart.Name | trunc 42 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* Of objects that belong to no namespace: two releases in two namespaces may have one name. */}}
{{- define "operator.clusterName" -}}
{{- printf "%s-%s" (include "operator.fullname" .) .Release.Namespace -}}
{{- end -}}

{{/* The name label is fixed: stacks' network policies let the operator in by it. */}}
{{- define "operator.selector" -}}
app.kubernetes.io/name: memorystack-operator
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end -}}

{{- define "operator.labels" -}}
{{- include "operator.labelsAnd" (dict "root" . "more" dict) -}}
{{- end -}}

{{/* Of (dict "root" . "more" .Values.x.labels). Ours win: selectors depend on them. */}}
{{- define "operator.labelsAnd" -}}
{{- $own := include "operator.selector" .root | fromYaml -}}
{{- $_ := set $own "app.kubernetes.io/component" "operator" -}}
{{- $_ := set $own "app.kubernetes.io/part-of" "memorystack" -}}
{{- $_ := set $own "app.kubernetes.io/version" .root.Chart.AppVersion -}}
{{- $_ := set $own "app.kubernetes.io/managed-by" .root.Release.Service -}}
{{- $_ := set $own "helm.sh/chart" (printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_") -}}
{{- merge $own .more .root.Values.labels | toYaml -}}
{{- end -}}

{{- define "operator.account" -}}
{{- if .Values.serviceAccount.create -}}
{{- .Values.serviceAccount.name | default (include "operator.fullname" .) -}}
{{- else -}}
{{- required "serviceAccount.create is false: name the account in serviceAccount.name" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{/* Of (dict "root" . "image" .Values.xImage). */}}
{{- define "operator.image" -}}
{{- $path := .image.repository -}}
{{- with .root.Values.image.registry -}}
{{- $path = printf "%s/%s" (trimSuffix "/" .) $path -}}
{{- end -}}
{{- if .image.digest -}}
{{- printf "%s@%s" $path .image.digest -}}
{{- else -}}
{{- printf "%s:%s" $path (.image.tag | default .root.Chart.AppVersion) -}}
{{- end -}}
{{- end -}}
