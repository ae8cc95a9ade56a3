"""A pod's own access to the API, where it mounts its account's token.

A kubelet mounts the token at a path that is the same in every container. Processes of one machine would share it, so here
it is a kubeconfig in the pod's own folder, named by KUBECONFIG. Knows: tokens. Must not know: what a pod does with one.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from support.cluster.access import kubeconfig
from support.kubelet.api import Api, Object

from memorystack_operator.local.state import write_atomically

__all__ = ["account_access"]

SECONDS: Final = 6 * 3600


async def account_access(api: Api, pod: Object, folder: Path) -> dict[str, str]:
    """Variables for its process; none where it mounts no token. Raises ApiError, aiohttp.ClientError."""
    sources = [s for v in pod["spec"].get("volumes", ()) for s in v.get("projected", {}).get("sources", ())]
    if not any("serviceAccountToken" in s for s in sources):
        return {}
    namespace, name = pod["metadata"]["namespace"], pod["spec"]["serviceAccountName"]
    path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{name}/token"
    answer = await api.post(path, {"spec": {"expirationSeconds": SECONDS}})
    file = folder / "kubeconfig"
    write_atomically(file, kubeconfig(api.url, api.authority, answer["status"]["token"], namespace), mode=0o600)
    return {"KUBECONFIG": str(file)}
