import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.elasticsearch.common.Strings;
import org.elasticsearch.xcontent.NamedXContentRegistry;
import org.elasticsearch.xcontent.ParseField;
import org.elasticsearch.xcontent.XContentParser;
import org.elasticsearch.xcontent.XContentParserConfiguration;
import org.elasticsearch.xcontent.json.JsonXContent;
import org.elasticsearch.xpack.core.ilm.DeleteAction;
import org.elasticsearch.xpack.core.ilm.LifecycleAction;
import org.elasticsearch.xpack.core.ilm.LifecyclePolicy;
import org.elasticsearch.xpack.core.ilm.LifecycleType;
import org.elasticsearch.xpack.core.ilm.RolloverAction;
import org.elasticsearch.xpack.core.ilm.TimeseriesLifecycleType;

/** ReadPolicies FILE: lifecycle policies by name, read and checked as Elasticsearch does, and printed as it writes them. */
public class ReadPolicies {
  public static void main(String[] arguments) throws Exception {
    NamedXContentRegistry registry = new NamedXContentRegistry(List.of(
        new NamedXContentRegistry.Entry(
            LifecycleType.class, new ParseField(TimeseriesLifecycleType.TYPE), p -> TimeseriesLifecycleType.INSTANCE),
        new NamedXContentRegistry.Entry(LifecycleAction.class, new ParseField(RolloverAction.NAME), RolloverAction::parse),
        new NamedXContentRegistry.Entry(LifecycleAction.class, new ParseField(DeleteAction.NAME), DeleteAction::parse)));
    byte[] text = Files.readAllBytes(Path.of(arguments[0]));
    XContentParserConfiguration configuration = XContentParserConfiguration.EMPTY.withRegistry(registry);
    StringBuilder written = new StringBuilder();
    try (XContentParser parser = JsonXContent.jsonXContent.createParser(configuration, text)) {
      parser.nextToken();
      while (parser.nextToken() == XContentParser.Token.FIELD_NAME) {
        String name = parser.currentName();
        parser.nextToken();
        LifecyclePolicy policy = LifecyclePolicy.parse(parser, name);
        policy.validate();
        written.append(written.isEmpty() ? "{" : ",").append('"').append(name).append("\":").append(Strings.toString(policy));
      }
    }
    System.out.println(written.append('}'));
  }
}
