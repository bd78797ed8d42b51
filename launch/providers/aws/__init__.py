"""Amazon EC2: virtual machines that end themselves by shutting down (docs/providers/aws.md).

adapter   the Cloud: orders, looks, ends
order     the one request that makes a machine
shown     a machine as EC2 shows it
network   the security group, which lets nothing in
market    what a region would rent now, and for how much
prices    what AWS lists on demand, and for disks
egress    what AWS asks for data that leaves a region
bands     how often AWS took spot machines away lately, as it publishes it
quotas    how many vCPUs the account may have at once
account   whose keys, which regions, requests that are tried again or sent once
errors    what AWS's refusals mean
"""
