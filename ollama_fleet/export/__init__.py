"""The fleet's pools for engines that a site runs already: HAProxy, Prometheus, Kubernetes.

Pure text of the gateway's plan; nothing here touches a host. Imports planner and templating.
"""
