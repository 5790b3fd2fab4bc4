// The gate alone: with a history file "allure quality-gate" would append to it a second time.
import report from "./allurerc.mjs";

const { historyPath, historyLimit, plugins, ...gate } = report;

export default gate;
