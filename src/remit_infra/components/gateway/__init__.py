"""What callers connect to: API Gateway, the load balancer, the web firewall."""
