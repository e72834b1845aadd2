"""Whether Lag-DPO holds every dimension of a real model where averaging lets one fall."""
