"""Every mutation, by what is wrong."""

from tests.infra.mutations import of_data, of_monitoring, of_the_edge, of_the_network
from tests.infra.mutations.mutation import Mutation

MUTATIONS: dict[str, Mutation] = {
    **of_data.MUTATIONS,
    **of_monitoring.MUTATIONS,
    **of_the_edge.MUTATIONS,
    **of_the_network.MUTATIONS,
}
