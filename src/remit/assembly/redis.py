"""The adapters to Redis in ElastiCache: rate limits, cached reads, sessions."""

from remit.adapters.aws import elasticache
from remit.adapters.redis.cache import RedisCache
from remit.adapters.redis.connection import RedisConnection
from remit.adapters.redis.limiter import RedisLimiter
from remit.adapters.redis.sessions import RedisSessions
from remit.assembly.parts import Close, local_limiter
from remit.clock_and_ids import new_secret
from remit.domain.ids import Clock
from remit.ports.app import ProcessState
from remit.settings import Settings


def shared_state(settings: Settings, clock: Clock) -> tuple[ProcessState, Close]:
    """The state that all processes share, and how to close its connection.

    While Redis is down, each process limits its own requests.
    """
    endpoint = settings.require("cache_endpoint")
    login = elasticache.IamLogin(
        cache_name=settings.require("cache_name"), user=settings.require("cache_user")
    )
    redis = RedisConnection(
        lambda: elasticache.connection(endpoint, login, settings.cache_ca), clock
    )
    state = ProcessState(
        limiter=RedisLimiter(
            redis,
            per_second=settings.rate_per_second,
            burst=settings.rate_burst,
            fallback=local_limiter(settings, clock),
        ),
        cache=RedisCache(redis, seconds=settings.cache_seconds),
        sessions=RedisSessions(redis, new_secret),
    )
    return state, redis.close
