"""What of an answer must stay as long as nobody changes the host: one awk program per question.

A question that is not here is not part of the look: what it answers comes and goes (memory in use,
temperatures, running requests) or is another's to watch (disks, certificates' ends: monitoring).
Programs print the same for every healthy moment, and have no single quotes.
"""

AS_IS = "{ print }"
# Which of a host's kernels have the driver: the same set, whatever the kernels are called.
_KERNELS = '{ $1 = ""; if (!seen[$0]++) print }'
# index, uuid, name, address, driver, total; persistence and ECC come behind what changes.
_SMI = 'BEGIN { FS = ", " } NF < 10 { print; next } { print $1, $2, $3, $4, $5, $6, $10, $11, $12, $13 }'
# Slowed down by heat, power supply or hardware (0x40, 0x80, 0x8); width and soft limits come and go.
_HEALTH = """BEGIN { FS = ", " }
    /^#/ { split(substr($0, 2), name, ","); next }
    {
        print $1
        for (i = 2; i <= NF; i++) {
            field = name[i - 1]
            if (field ~ /width/) continue
            if (field !~ /reasons/) { print field, $i; continue }
            last = tolower(substr($i, length($i) - 1))
            print field, (last ~ /^[4-9a-f]|[89a-f]$/) ? "slowed" : "full"
        }
    }"""
_XIDS = '/Xid/ { sub(/.*NVRM: /, ""); if (!seen[$0]++) print }'
# A restart gives another process; what it has in force stays.
_UNITS = (
    "!/^(MainPID|ControlGroup|ActiveEnter|InvocationID|NRestarts|ExecMain|StateChange)/ { print }"
)
_VARIABLES = """{ line = $0; sub(/^\\/proc\\/[0-9]+\\/environ:/, "", line); count[line]++ }
    END { for (line in count) print count[line], line | "sort" }"""
# Which files and drop-ins a unit has; when they were written and started comes and goes.
_UNIT_FILES = "/^(Id|NeedDaemonReload|FragmentPath|DropInPaths|EnvironmentFiles)=/ { print }"
# Of other servers of Ollama whose they are; their processes come and go.
_SERVERS = """{ gsub(/\\/proc\\/[0-9]+/, ""); count[$0]++ }
    END { for (line in count) print line | "sort" }"""
_SORTED = '{ print | "sort" }'
# Version, and which model is which by digest; what is in memory is the watchdog's to look after.
_API = """/^#/ { url = $0; sub(/^#/, "", url) }
    { body[NR] = $0 }
    /^#.*api\\/version/ { print url, body[NR - 1]; fflush() }
    /^#.*api\\/tags/ {
        count = split(body[NR - 1], part, /[{]"name":"/)
        for (i = 2; i <= count; i++) {
            name = digest = part[i]
            sub(/".*/, "", name)
            sub(/.*"digest":"/, "", digest)
            sub(/".*/, "", digest)
            print url, name, digest | "sort"
        }
        close("sort")
    }"""

# Keys come and go without a deploy.
_FILES = '!/\\/etc\\/ollama\\/gateway\\// { print | "sort" }'

STEADY: dict[str, str] = {
    "smi": _SMI,
    "minors": _SORTED,
    "uvm": AS_IS,
    "pci": _SORTED,
    "driver.loaded": AS_IS,
    "driver.library": AS_IS,
    "driver.kernels": _KERNELS,
    "driver.packages": _SORTED,
    "driver.kept": _SORTED,
    "driver.units": _UNITS,
    "health.gpus": _HEALTH,
    "health.rows": _SORTED,
    "health.xids": _XIDS,
    "health.fabric": AS_IS,
    "containers cdi": _SORTED,
    "units": _UNITS,
    "environments": _VARIABLES,
    "devices": _SORTED,
    "rights": _SORTED,
    "ways": _UNITS,
    "api": _API,
    "owned.files": _FILES,
    "release.files": _SORTED,
    "drift.units": _UNIT_FILES,
    "drift.unit-files": _SORTED,
    "drift.servers": _SERVERS,
}
