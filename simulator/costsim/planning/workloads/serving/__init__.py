"""Services: tokens generated and samples passed forward, by fleets of replicas."""
