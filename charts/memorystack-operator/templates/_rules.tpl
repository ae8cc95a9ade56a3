{{/* What the operator does, verb by verb, as tests/cluster/test_rights.py sees it: every stack has a ConfigMap and a budget for as
     long as it lives, so these two are never deleted. No verb on Secrets; nothing that it does not render. */}}
{{- define "operator.rules" -}}
{{- $kept := list "get" "list" "watch" "create" "patch" -}}
{{- $whole := append $kept "delete" -}}
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
  resources: [configmaps]
  verbs: {{ toJson $kept }}
- apiGroups: [""]
  resources: [serviceaccounts, services]
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
  verbs: {{ toJson $kept }}
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
