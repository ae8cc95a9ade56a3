{{/* What the operator does, verb by verb. No verb on Secrets; nothing that it does not render. */}}
{{- define "operator.rules" -}}
{{- $whole := list "get" "list" "watch" "create" "patch" "delete" -}}
- apiGroups: [memorystack.dev]
  resources: [memorystacks]
  verbs: [get, list, watch]
- apiGroups: [memorystack.dev]
  resources: [memorystacks/status]
  verbs: [patch]
- apiGroups: [""]
  resources: [pods]
  verbs: [get, list, watch, patch]
- apiGroups: [""]
  resources: [configmaps, serviceaccounts, services]
  verbs: {{ toJson $whole }}
- apiGroups: [apps]
  resources: [deployments, statefulsets]
  verbs: {{ toJson $whole }}
- apiGroups: [apps]
  resources: [deployments/scale]
  verbs: [patch]
- apiGroups: [autoscaling]
  resources: [horizontalpodautoscalers]
  verbs: {{ toJson $whole }}
- apiGroups: [policy]
  resources: [poddisruptionbudgets]
  verbs: {{ toJson $whole }}
- apiGroups: [networking.k8s.io]
  resources: [networkpolicies]
  verbs: {{ toJson $whole }}
- apiGroups: [monitoring.coreos.com]
  resources: [podmonitors]
  verbs: {{ toJson $whole }}
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [get, create, patch]
{{- end -}}
