// The gate alone: with a history file "allure quality-gate" would append to it a second time.
import { environments } from "./legs.mjs";
import { rules } from "./gate.mjs";

export default { environments, qualityGate: { rules } };
