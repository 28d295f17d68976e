"""Every unit of ours, shown by systemctl once in a verification: it is dear, and several checks want to
know of the same units."""

from collections.abc import Iterable

from ollama_fleet.checks.requests import FOLDER
from ollama_fleet.checks.seen_units import PROPERTIES
from ollama_fleet.checks.warm import TABLE as WARM_TABLE
from ollama_fleet.firewall.rules import UNIT as FIREWALL_UNIT
from ollama_fleet.gateway.places import HOP_UNIT
from ollama_fleet.planner.plan import DEVICES_UNIT, LOADER_UNIT, SCRUB_TIMER, TARGET, HostPlan
from ollama_fleet.templating import UNIT_DIR
from ollama_fleet.watching.places import HEALTH_UNIT, WATCHDOG_UNIT, is_repaired, is_watched

# Unit, main process and control group of each slice, one per line.
TABLE = f"{FOLDER}/units"
# PROPERTIES of all units of ours, as systemctl shows them.
SHOWN = f"{FOLDER}/shown"
# Whether surrounding units run and are enabled.
AROUND = f"{FOLDER}/around"


def surrounding_units(plan: HostPlan) -> list[str]:
    """What lets gateways in, what watches and repairs slices, and what keeps others out."""
    wanted = {
        HOP_UNIT: plan.hop is not None,
        HEALTH_UNIT: is_watched(plan),
        WATCHDOG_UNIT: is_repaired(plan),
        FIREWALL_UNIT: plan.firewall.mode != "off",
    }
    return [unit for unit, is_wanted in wanted.items() if is_wanted]


def planned_units(plan: HostPlan) -> list[str]:
    """Those that a host is to have."""
    scrub = [SCRUB_TIMER] if plan.store.scrub else []
    warm = [item.warm_unit for item in plan.slices if item.preload]
    slices = [item.unit for item in plan.slices]
    around = surrounding_units(plan)
    return [TARGET, DEVICES_UNIT, LOADER_UNIT, *slices, *warm, *scrub, *around]


def show_units(plan: HostPlan, stock: str, properties: Iterable[str]) -> str:
    """Shell that prints `properties` of slices' units, of `stock` and of warming units, and keeps for later
    questions TABLE, WARM_TABLE, AROUND, and SHOWN: units of ours that lie on the disk are in it, planned or
    not. `properties` have Id, ActiveState, UnitFileState, MainPID and ControlGroup."""
    warm = [item.warm_unit for item in plan.slices if item.preload]
    slices = [item.unit for item in plan.slices]
    asked = ",".join(dict.fromkeys((*properties, *PROPERTIES)))
    return f"""set -- {" ".join(planned_units(plan))}
for file in {UNIT_DIR}/ollama-*.service {UNIT_DIR}/ollama-*.timer; do
    [ -f "$file" ] || continue
    case " $* " in *" ${{file##*/}} "*) ;; *) set -- "$@" "${{file##*/}}" ;; esac
done
systemctl show -p {asked} "$@" {stock} | awk -F= -v table={TABLE} -v warm={WARM_TABLE} -v shown={SHOWN} \\
    -v around={AROUND} -v surrounding=' {" ".join(surrounding_units(plan))} ' \\
    -v slices=' {" ".join((*slices, stock))} ' -v warming=' {" ".join(warm)} ' \\
    -v printed=',{",".join(properties)},' -v of_all=',{",".join(PROPERTIES)},' '
    function keep() {{
        if (!("Id" in of)) return
        id = of["Id"]
        if (id != "{stock}") print files >shown
        state = "ActiveState=" of["ActiveState"] "\\nUnitFileState=" of["UnitFileState"]
        if (index(surrounding, " " id " ")) print "Id=" id "\\n" state "\\n" >around
        if (index(slices, " " id " ")) print id, of["MainPID"], of["ControlGroup"] >table
        else if (!index(warming, " " id " ")) return
        else if (of["ActiveState"] != "inactive") print id >warm
        print text
    }}
    NF == 0 {{ keep(); split("", of); text = files = "" }}
    NF > 0 {{ of[$1] = $2 }}
    index(printed, "," $1 ",") {{ text = text $0 "\\n" }}
    index(of_all, "," $1 ",") {{ files = files $0 "\\n" }}
    END {{ keep() }}'"""
