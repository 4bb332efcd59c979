"""Events as AWS documents them, one of each kind, with what is odd about the kind."""

from __future__ import annotations

from typing import Any

# "Input format of a Lambda function for proxy integration", API Gateway developer guide. The query is decoded, headers and
# parameters stand in two forms, `path` lacks the stage, and the address of the client stands in the context.
REST: dict[str, Any] = {
    "resource": "/{proxy+}",
    "path": "/shop/caf%C3%A9",
    "httpMethod": "POST",
    "headers": {
        "Accept": "text/html",
        "Host": "abc123.execute-api.eu-central-1.amazonaws.com",
        "X-Forwarded-For": "192.0.2.1, 203.0.113.9",
        "X-Forwarded-Port": "443",
        "X-Forwarded-Proto": "https",
        "X-Tag": "second",
    },
    "multiValueHeaders": {
        "Accept": ["text/html"],
        "Host": ["abc123.execute-api.eu-central-1.amazonaws.com"],
        "X-Forwarded-For": ["192.0.2.1, 203.0.113.9"],
        "X-Forwarded-Port": ["443"],
        "X-Forwarded-Proto": ["https"],
        "X-Tag": ["first", "second"],
    },
    "queryStringParameters": {"tag": "b&c", "name": "me", "empty": ""},
    "multiValueQueryStringParameters": {"tag": ["a", "b&c"], "name": ["me"], "empty": [""]},
    "pathParameters": {"proxy": "shop/café"},
    "stageVariables": None,
    "requestContext": {
        "accountId": "123456789012",
        "apiId": "abc123",
        "path": "/prod/shop/caf%C3%A9",
        "stage": "prod",
        "protocol": "HTTP/1.1",
        "identity": {"sourceIp": "192.0.2.1", "userAgent": "curl/8"},
    },
    "body": "aGVsbG8=",
    "isBase64Encoded": True,
}

# What the console of API Gateway sends for a test: no headers, no query, an address that is none.
REST_TEST: dict[str, Any] = {
    "resource": "/",
    "path": "/",
    "httpMethod": "GET",
    "headers": None,
    "multiValueHeaders": None,
    "queryStringParameters": None,
    "multiValueQueryStringParameters": None,
    "requestContext": {"stage": "test-invoke-stage", "identity": {"sourceIp": "test-invoke-source-ip"}},
    "body": None,
    "isBase64Encoded": False,
}

# "Payload format version 2.0", API Gateway developer guide. Duplicate headers are joined, cookies stand in a list, the query is as
# sent, and `rawPath` begins with the stage.
HTTP: dict[str, Any] = {
    "version": "2.0",
    "routeKey": "$default",
    "rawPath": "/prod/my/path",
    "rawQueryString": "parameter1=value1&parameter1=value2&x=%2F%20+",
    "cookies": ["cookie1=1", "cookie2=2"],
    "headers": {"header1": "value1,value2", "host": "api.example.com", "x-forwarded-proto": "https"},
    "requestContext": {
        "apiId": "abc123",
        "domainName": "abc123.execute-api.eu-central-1.amazonaws.com",
        "http": {
            "method": "GET",
            "path": "/prod/my/path",
            "protocol": "HTTP/1.1",
            "sourceIp": "192.0.2.1",
            "userAgent": "agent",
        },
        "stage": "prod",
    },
    "isBase64Encoded": False,
}

# "Using Lambda with function URLs", Lambda developer guide: the same form; the domain tells it apart.
FUNCTION_URL: dict[str, Any] = {
    **HTTP,
    "rawPath": "/my/path",
    "requestContext": {
        **HTTP["requestContext"],
        "domainName": "abc123.lambda-url.eu-central-1.on.aws",
        "http": {**HTTP["requestContext"]["http"], "method": "PUT", "path": "/my/path"},
        "stage": "$default",
    },
    "body": "zażółć",
}

# "Use Lambda functions as targets", Elastic Load Balancing user guide. Parameters are as sent; of repeated ones the last arrives.
BALANCER: dict[str, Any] = {
    "requestContext": {"elb": {"targetGroupArn": "arn:aws:elasticloadbalancing:eu-central-1:1:targetgroup/t/6d0e"}},
    "httpMethod": "GET",
    "path": "/",
    "queryStringParameters": {"myKey": "val%20ue2", "sum": "1%2B1"},
    "headers": {
        "host": "my-alb.eu-central-1.elb.amazonaws.com",
        "x-forwarded-for": "198.51.100.66, 192.0.2.1",
        "x-forwarded-port": "80",
        "x-forwarded-proto": "http",
    },
    "isBase64Encoded": False,
    "body": "",
}

BALANCER_MULTIPLE: dict[str, Any] = {
    "requestContext": BALANCER["requestContext"],
    "httpMethod": "GET",
    "path": "/",
    "multiValueQueryStringParameters": {"myKey": ["val1", "val%202"]},
    "multiValueHeaders": {
        "cookie": ["name1=value1", "name2=value2"],
        "host": ["my-alb.eu-central-1.elb.amazonaws.com"],
        "x-forwarded-for": ["192.0.2.1"],
        "x-forwarded-port": ["443"],
        "x-forwarded-proto": ["https"],
    },
    "isBase64Encoded": False,
    "body": "",
}

# "Lambda@Edge event structure", CloudFront developer guide. Each header is a list, a body comes only if the trigger includes it.
EDGE: dict[str, Any] = {
    "Records": [
        {
            "cf": {
                "config": {"distributionId": "EDFDVBD6EXAMPLE", "eventType": "origin-request"},
                "request": {
                    "clientIp": "2001:db8::1",
                    "headers": {
                        "host": [{"key": "Host", "value": "d111111abcdef8.cloudfront.net"}],
                        "cookie": [{"key": "Cookie", "value": "a=1"}, {"key": "Cookie", "value": "b=2"}],
                        "cloudfront-forwarded-proto": [{"key": "CloudFront-Forwarded-Proto", "value": "http"}],
                    },
                    "method": "POST",
                    "querystring": "size=large",
                    "uri": "/picture.jpg",
                    "body": {
                        "action": "read-only",
                        "data": "aGVsbG8=",
                        "encoding": "base64",
                        "inputTruncated": False,
                    },
                },
            }
        }
    ]
}

ALL = {
    "rest": REST,
    "rest test": REST_TEST,
    "http": HTTP,
    "function url": FUNCTION_URL,
    "balancer": BALANCER,
    "balancer multiple": BALANCER_MULTIPLE,
    "edge": EDGE,
}
