"""What nvidia-smi prints about MIG, as recorded on real cards; UUIDs are made up."""

# H100 80 GB cut into 3+2+2 beside one that is not cut; driver 580.
MODES = "0, Enabled, Enabled\n1, Disabled, Disabled\n"
LGI = """\
+---------------------------------------------------------+
| GPU instances:                                          |
| GPU   Name               Profile  Instance   Placement  |
|                            ID       ID       Start:Size |
|=========================================================|
|   0  MIG 2g.20gb           14        3          0:2     |
+---------------------------------------------------------+
|   0  MIG 2g.20gb           14        5          2:2     |
+---------------------------------------------------------+
|   0  MIG 3g.40gb            9        2          4:4     |
+---------------------------------------------------------+
"""
LCI = """\
+--------------------------------------------------------------------+
| Compute instances:                                                 |
| GPU     GPU       Name             Profile   Instance   Placement  |
|       Instance                       ID        ID       Start:Size |
|         ID                                                         |
|====================================================================|
|   0      3       MIG 2g.20gb          1         0          0:2     |
+--------------------------------------------------------------------+
|   0      5       MIG 2g.20gb          1         0          0:2     |
+--------------------------------------------------------------------+
|   0      2       MIG 3g.40gb          2         0          0:3     |
+--------------------------------------------------------------------+
"""
LIST = """\
GPU 0: NVIDIA H100 80GB HBM3 (UUID: GPU-00000000-1111-2222-3333-444444444444)
  MIG 3g.40gb     Device  0: (UUID: MIG-aaaaaaaa-0000-5000-8000-000000000002)
  MIG 2g.20gb     Device  1: (UUID: MIG-aaaaaaaa-0000-5000-8000-000000000003)
  MIG 2g.20gb     Device  2: (UUID: MIG-aaaaaaaa-0000-5000-8000-000000000005)
GPU 1: NVIDIA H100 80GB HBM3 (UUID: GPU-00000001-1111-2222-3333-444444444444)
"""


def xml_device(index: int, gi: int, total_mib: int) -> str:
    return f"""\
			<mig_device>
				<index>{index}</index>
				<gpu_instance_id>{gi}</gpu_instance_id>
				<compute_instance_id>0</compute_instance_id>
				<device_attributes>
					<shared>
						<multiprocessor_count>60</multiprocessor_count>
					</shared>
				</device_attributes>
				<fb_memory_usage>
					<total>{total_mib} MiB</total>
					<reserved>0 MiB</reserved>
					<used>44 MiB</used>
					<free>{total_mib - 44} MiB</free>
				</fb_memory_usage>
				<bar1_memory_usage>
					<total>65535 MiB</total>
				</bar1_memory_usage>
			</mig_device>
"""


def xml(*devices: str) -> str:
    return f"""\
<?xml version="1.0" ?>
<nvidia_smi_log>
	<attached_gpus>2</attached_gpus>
	<gpu id="00000000:17:00.0">
		<mig_devices>
{"".join(devices)}		</mig_devices>
		<fb_memory_usage>
			<total>81559 MiB</total>
		</fb_memory_usage>
	</gpu>
	<gpu id="00000000:3D:00.0">
		<mig_devices>
			None
		</mig_devices>
	</gpu>
</nvidia_smi_log>
"""


XML = xml(xml_device(0, 2, 40448), xml_device(1, 3, 20096), xml_device(2, 5, 20096))
NOTHING = "No GPU instances found: Not Found\n"
