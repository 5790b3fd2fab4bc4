"""What the API stores, refuses and warns of."""

from typing import Final

from session_affinity.claims.claim import API, BOTH, FIELD, KUBE_PROXY, TIMEOUT_FIELD, Claim

APPLY: Final = "server-side apply (KEP-555), over Service.spec.sessionAffinity and its configuration"
SKIPPED: Final = "kube-proxy pkg/proxy/util/utils.go, ShouldSkipService"
VALIDATION: Final = "kube-apiserver pkg/apis/core/validation/validation.go, validateService"
DEFAULTING: Final = "kube-apiserver pkg/apis/core/v1/defaults.go, SetDefaults_Service"
WARNINGS: Final = "kube-apiserver pkg/api/service/warnings.go, GetWarningsForService"

CLAIMS: Final = (
    Claim("C02", "A Service says None and no timeout unless told otherwise", API, FIELD),
    Claim("C03", "ClientIP without a timeout is stored with 10800 seconds", API, TIMEOUT_FIELD),
    Claim("C04", "Timeouts of 1, 30 and 86400 seconds are accepted as they are", API, TIMEOUT_FIELD),
    Claim("C06", "Timeouts out of range and an unknown affinity are refused, naming the field", API, VALIDATION),
    Claim("C07", "None removes the timeout, and ClientIP again begins with 10800 seconds", API, DEFAULTING),
    Claim("C54", "Affinity of a headless Service is warned of, and none where there is none", API, WARNINGS),
    Claim("C55", "Another manager's apply conflicts over the timeout, and takes it only by force", API, APPLY),
    Claim("C56", "Merge, strategic and JSON patches of affinity store the same", API, FIELD),
    Claim("C57", "A Service created with ClientIP equals one that was switched in place", KUBE_PROXY, FIELD, BOTH),
    Claim("C08", "Headless and ExternalName Services with ClientIP program nothing", KUBE_PROXY, SKIPPED, BOTH),
)
